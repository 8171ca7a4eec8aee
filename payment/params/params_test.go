package params

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open("tokyo-params-1", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVersionsAndDurability(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params.json")
	s := open(t, path)
	for i, c := range []struct {
		ifVersion int64
		values    map[string]string
		version   int64 // 0: refused
	}{
		{0, map[string]string{"epoch": "1", "batch.enabled": "false"}, 1},
		{1, map[string]string{"epoch": "2"}, 2},
		{1, map[string]string{"epoch": "3"}, 0},
		{9, map[string]string{"epoch": "3"}, 0},
		{0, map[string]string{"cluster.form": "true"}, 3},
	} {
		v, err := s.Put(c.ifVersion, c.values)
		if c.version == 0 {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("put %d: %v", i, err)
			}
			continue
		}
		if err != nil || v.Version != c.version {
			t.Errorf("put %d: version %d, %v; want %d", i, v.Version, err, c.version)
		}
		again, _ := open(t, path).Get(t.Context()) // as after kill -9: nothing but the file
		if fmt.Sprint(again) != fmt.Sprint(v) {
			t.Errorf("put %d: the file holds %v, the answer was %v", i, again, v)
		}
	}
	v, _ := s.Get(t.Context())
	if fmt.Sprint(v.Values) != "map[batch.enabled:false cluster.form:true epoch:2]" {
		t.Errorf("values %v", v.Values)
	}
}

func TestAKillInTheMiddleLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params.json")
	if _, err := open(t, path).Put(0, map[string]string{"epoch": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(`{"version": 2, "val`), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if v, err := s.Put(1, map[string]string{"epoch": "2"}); err != nil || v.Version != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAFailedWriteChangesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(folder, "params.json"))
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(0, map[string]string{"a": "b"}); err == nil {
		t.Error("put into a folder that is gone succeeds")
	}
	if v, _ := s.Get(t.Context()); v.Version != 0 || len(v.Values) != 0 {
		t.Errorf("values %v", v)
	}
}

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{"damaged": `{"version":1,`, "strange": `{"version":1,"valeus":{}}`, "typed": `{"version":"1"}`} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open("n", path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open("n", filepath.Join(folder, "no", "such"), nil); err == nil {
		t.Error("a store in a folder that does not exist opens")
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(open(t, filepath.Join(t.TempDir(), "p")).Handler())
	defer server.Close()
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/params", "", 200, `{"version":0,"values":{}}`},
		{"PUT", "/params", `{"values":{"epoch":"1"}}`, 200, `{"version":1,"values":{"epoch":"1"}}`},
		{"PUT", "/params", `{"if_version":1,"values":{"a":"x"}}`, 200, `{"version":2,"values":{"a":"x","epoch":"1"}}`},
		{"PUT", "/params", `{"if_version":1,"values":{"a":"y"}}`, 409, "version differs"},
		{"PUT", "/params", `{"values":{}}`, 400, "none are given"},
		{"PUT", "/params", `{"values":{"a b":"1"}}`, 400, "name"},
		{"PUT", "/params", `{"values":{"a":1}}`, 400, "number"},
		{"PUT", "/params", `{"value":{}}`, 400, "unknown field"},
		{"GET", "/params/a", "", 200, `{"name":"a","value":"x","version":2}`},
		{"GET", "/params/b", "", 404, "no parameter"},
		{"GET", "/healthz", "", 200, `"version":2`},
		{"DELETE", "/params", "", 404, "nothing is at"},
	} {
		r, _ := http.NewRequest(c.method, server.URL+c.path, strings.NewReader(c.body))
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
		if none := res.Header.Get("X-Executed") == "none"; none != (c.status != 200) {
			t.Errorf("%s %s: executed %q at %d", c.method, c.path, res.Header.Get("X-Executed"), c.status)
		}
	}
}

func TestClients(t *testing.T) {
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.252.%d.%d:0", pid>>8&0xff, pid&0xff)) // nobody else takes its port when it is closed
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(open(t, filepath.Join(t.TempDir(), "p")).Handler())
	server.Listener.Close()
	server.Listener = l
	server.Start()
	c := NewClient(server.Listener.Addr().String(), server.Client().Transport, time.Minute)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := c.Put(t.Context(), 0, map[string]string{fmt.Sprintf("k%d", i): "v"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if v, err := c.Get(t.Context()); err != nil || v.Version != 8 || len(v.Values) != 8 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := c.Put(t.Context(), 3, map[string]string{"a": "b"}); !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("a version that differs: %v", err)
	}
	server.Close()
	if _, err := NewClient(server.URL, nil, time.Minute).Get(t.Context()); !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestWaitSaysWhatItSaw(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "p"))
	missing := errors.New("epoch is missing")
	check := func(v payment.Values) error {
		if v.Values["epoch"] == "" {
			return missing
		}
		return nil
	}
	if err := Wait(t.Context(), s, 150*time.Millisecond, check); !errors.Is(err, missing) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Wait(ctx, s, time.Hour, check); err == nil {
		t.Error("an ended wait succeeds")
	}
	if _, err := s.Put(0, map[string]string{"epoch": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := Wait(t.Context(), s, time.Second, check); err != nil {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params.json")
	s := open(t, path)
	if _, err := s.Put(0, map[string]string{"epoch": "2", "mysql.endpoint": "a:3306"}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	put := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/params", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		body   string
		status int
		left   string
	}{
		{`{"values":{"a":"1"},"remove":["a"]}`, http.StatusBadRequest, "map[epoch:2 mysql.endpoint:a:3306]"},
		{`{"remove":[]}`, http.StatusBadRequest, "map[epoch:2 mysql.endpoint:a:3306]"},
		{`{"values":{"x":"1"},"remove":["mysql.endpoint"]}`, http.StatusOK, "map[epoch:2 x:1]"},
		{`{"remove":["mysql.endpoint","epoch"]}`, http.StatusOK, "map[x:1]"},
	} {
		if got := put(c.body); got != c.status {
			t.Errorf("%s: status %d, want %d", c.body, got, c.status)
		}
		v, _ := open(t, path).Get(t.Context())
		if got := fmt.Sprint(v.Values); got != c.left {
			t.Errorf("%s: the file holds %s, want %s", c.body, got, c.left)
		}
	}
}
