package acquirer

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/mono"
)

func open(t *testing.T, path string, latency time.Duration) (*Server, *Client) {
	t.Helper()
	s, err := Open(Config{Node: "outside-acquirer-1", Log: path, Latency: Latency{After: latency}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() { server.Close(); s.Close() })
	return s, NewClient(server.URL, server.Client().Transport, 5*time.Second)
}

func TestChargesOnceForARequestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.ndjson")
	s, c := open(t, path, 0)
	before := mono.Now()
	for i, k := range []struct {
		charge payment.Charge
		dup    bool
	}{
		{payment.Charge{Payment: "p1", Request: "p1", Yen: 100}, false},
		{payment.Charge{Payment: "p1", Request: "p1", Yen: 100}, true},
		{payment.Charge{Payment: "p2", Request: "p2", Yen: 5}, false},
		{payment.Charge{Payment: "p1", Request: "another", Yen: 100}, false},
	} {
		if dup, err := c.Charge(t.Context(), k.charge); err != nil || dup != k.dup {
			t.Errorf("charge %d: dup %v, %v", i, dup, err)
		}
		lines, err := ReadLog(path) // it is there before the answer is
		if err != nil || len(lines) != i+1 || lines[i].Dup != k.dup || lines[i].Payment != k.charge.Payment || lines[i].T < before || lines[i].T > mono.Now() {
			t.Errorf("charge %d: log %+v, %v", i, lines, err)
		}
	}
	for _, bad := range []payment.Charge{{Payment: "p1", Request: "p1", Yen: 99}, {Payment: "p3", Request: "p1", Yen: 100}} {
		if _, err := c.Charge(t.Context(), bad); !errors.Is(err, payment.ErrNotExecuted) {
			t.Errorf("%+v: %v", bad, err)
		}
	}

	if err := s.Close(); err != nil { // and after a restart
		t.Fatal(err)
	}
	if _, err := c.Charge(t.Context(), payment.Charge{Payment: "p9", Request: "p9", Yen: 1}); err == nil {
		t.Error("charged with a closed log")
	}
	_, c = open(t, path, 0)
	if dup, err := c.Charge(t.Context(), payment.Charge{Payment: "p2", Request: "p2", Yen: 5}); err != nil || !dup {
		t.Errorf("after a restart: dup %v, %v", dup, err)
	}
	if dup, err := c.Charge(t.Context(), payment.Charge{Payment: "p4", Request: "p4", Yen: 5}); err != nil || dup {
		t.Errorf("after a restart: dup %v, %v", dup, err)
	}
	if lines, err := ReadLog(path); err != nil || len(lines) != 6 {
		t.Errorf("log %+v, %v", lines, err)
	}
}

func TestACutOffLineIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.ndjson")
	const whole = `{"t":1,"payment":"p1","request":"p1","yen":100}` + "\n"
	if err := os.WriteFile(path, []byte(whole+`{"t":2,"payment":"p2","requ`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, c := open(t, path, 0)
	for id, dup := range map[string]bool{"p1": true, "p2": false} {
		if got, err := c.Charge(t.Context(), payment.Charge{Payment: id, Request: id, Yen: 100}); err != nil || got != dup {
			t.Errorf("%s: dup %v, %v", id, got, err)
		}
	}
	if lines, err := ReadLog(path); err != nil || len(lines) != 3 {
		t.Errorf("log %+v, %v", lines, err)
	}
}

func TestADamagedLogIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.ndjson")
	if err := os.WriteFile(path, []byte("{}\nnonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Log: path}); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
	if _, err := Open(Config{Log: filepath.Join(t.TempDir(), "no", "such")}); err == nil {
		t.Error("a log in a folder that does not exist opens")
	}
}

func TestManyAtOnceAreChargedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.ndjson")
	_, c := open(t, path, 0)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			id := fmt.Sprintf("p%d", i%20)
			if _, err := c.Charge(t.Context(), payment.Charge{Payment: id, Request: id, Yen: 7}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	lines, err := ReadLog(path)
	if err != nil || len(lines) != 60 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	charged := map[string]int{}
	last := int64(0)
	for _, l := range lines {
		if !l.Dup {
			charged[l.Payment]++
		}
		if l.T < last {
			t.Errorf("line at %d stands after one at %d", l.T, last)
		}
		last = l.T
	}
	for id, n := range charged {
		if n != 1 {
			t.Errorf("%s was charged %d times", id, n)
		}
	}
	if len(charged) != 20 {
		t.Errorf("%d payments were charged", len(charged))
	}
}

func TestHTTP(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "log"), 20*time.Millisecond)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/charges", `{"payment":"p","request":"r","yen":1}`, 200, `{"charged":true,"dup":false}`},
		{"POST", "/charges", `{"payment":"p","request":"r","yen":1}`, 200, `{"charged":true,"dup":true}`},
		{"POST", "/charges", `{"payment":"p","request":"r","yen":2}`, 409, "another body"},
		{"POST", "/charges", `{"payment":"p","request":"","yen":1}`, 400, "request"},
		{"POST", "/charges", `{"payment":"p q","request":"r","yen":1}`, 400, "allowed"},
		{"POST", "/charges", `{"payment":"p","request":"r","yen":-1}`, 400, "yen"},
		{"POST", "/charges", `{"payment":"p","request":"r","yen":1,"x":1}`, 400, "unknown field"},
		{"GET", "/charges/p", "", 200, `"charges":1`},
		{"GET", "/charges/none", "", 200, `{"charges":0,"payment":"none","requests":[]}`},
		{"GET", "/status", "", 200, `"charged":1`},
		{"GET", "/healthz", "", 200, "true"},
	} {
		r, _ := http.NewRequest(c.method, server.URL+c.path, strings.NewReader(c.body))
		began := time.Now()
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1000)
		n, _ := res.Body.Read(b)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(b[:n]), c.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, res.StatusCode, b[:n], c.status, c.says)
		}
		if d := time.Since(began); c.method == "POST" && c.status == 200 && d < 20*time.Millisecond {
			t.Errorf("%s: answered after %s, its latency is 20 ms", c.body, d)
		}
	}
}
