package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBadUsageIsOneClearErrorAndExit2(t *testing.T) {
	t.Setenv(secretEnv, "")
	file := filepath.Join(t.TempDir(), "f")
	for _, c := range []struct{ args, says string }{
		{"", "a part is needed"},
		{"onlin", `unknown command "onlin"`},
		{"online --site tokyo --params http://127.0.0.1:1", "--listen is needed"},
		{"online --listen 8080 --site tokyo --params http://127.0.0.1:1", `--listen is "8080", want host:port`},
		{"online --listen 127.0.0.1:0 --params http://127.0.0.1:1", "--site is needed"},
		{"online --listen 127.0.0.1:0 --site tokyo", "--params is needed"},
		{"online --listen 127.0.0.1:0 --site tokyo --params http://127.0.0.1:1 --defect ack-befor-commit", "there are ack-before-commit, new-request-key, blind-cancel, blind-retry, cached-answer"},
		{"online --listen 127.0.0.1:0 --site tokyo --params http://127.0.0.1:1 extra", "unknown command"},
		{"gateway --listen 127.0.0.1:0 --site tokyo", "--backends is needed"},
		{"gateway --listen 127.0.0.1:0 --site tokyo --backends a:1,b", `--backends is "b"`},
		{"params --listen 127.0.0.1:0", "--file is needed"},
		{"params --listen 127.0.0.1:0 --file " + file + " --flie x", "unknown flag: --flie"},
		{"acquirer --listen 127.0.0.1:0", "--log is needed"},
		{"acquirer --listen 127.0.0.1:0 --log " + file + " --latency 5", "invalid argument"},
		{"acquirer --listen 127.0.0.1:0 --log " + file + " --latency -5s", "--latency is -5s"},
		{"acquirer --listen 127.0.0.1:0 --log " + file + " --latency-before -5s", "--latency-before is -5s"},
		{"acquirer --listen 127.0.0.1:0 --log " + file + " --latency-every 0", "--latency-every is 0"},
		{"batch --listen 127.0.0.1:0 --site tokyo --params 127.0.0.1:1 --every 0s", "--every is 0s"},
		{"reconcile --site osaka --params 127.0.0.1:1", "--listen is needed"},
		{"reconcile --once --params 127.0.0.1:1", "--site is needed"},
		{"reconcile --once --site osaka", "--params is needed"},
		{"reconcile --once --site osaka --params 127.0.0.1:1 --grace 0s", "--grace is 0s"},
		{"reconcile --once --site osaka --params 127.0.0.1:1 --only-salvage", "needs --salvage"},
		{"reconcile --once --site osaka --params 127.0.0.1:1 --defect ack-before-commit", "there are blind-cancel, blind-retry, touch-young"},
		{"onprem --listen 127.0.0.1:0 --name pay.kirikae.test.", "--dns is needed"},
		{"onprem --listen 127.0.0.1:0 --dns 127.0.0.1:53 --name pay.kirikae.test. --port 0", "--port is 0"},
		{"onprem --listen 127.0.0.1:0 --dns 127.0.0.1:53", "--name is needed"},
	} {
		var out, err bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), &out, &err)
		if code != exitUsage || !strings.Contains(err.String(), c.says) || strings.Count(err.String(), "\n") > 1 {
			t.Errorf("paymentd %s: exit %d, %q; want exit 2, one line with %q", c.args, code, err.String(), c.says)
		}
	}
	os.Unsetenv(secretEnv)
	var err bytes.Buffer
	if code := run(t.Context(), strings.Fields("batch --listen 127.0.0.1:0 --site tokyo --params 127.0.0.1:1"), io.Discard, &err); code != exitUsage || !strings.Contains(err.String(), secretEnv) {
		t.Errorf("without a secret: exit %d, %q", code, err.String())
	}
}

func TestEnvironmentIsExit4(t *testing.T) {
	t.Setenv(secretEnv, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for args, says := range map[string]string{
		"params --file " + filepath.Join(t.TempDir(), "f") + " --listen " + l.Addr().String():                "listen on " + l.Addr().String() + ": bind: address already in use",
		"params --listen 127.0.0.1:0 --file " + filepath.Join(t.TempDir(), "no", "such"):                     "open parameter store",
		"acquirer --listen 127.0.0.1:0 --log " + filepath.Join(t.TempDir(), "no", "such"):                    "open charge log",
		"reconcile --once --site osaka --params 127.0.0.1:1 --salvage " + filepath.Join(t.TempDir(), "none"): "read salvage",
	} {
		var out, err bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &err); code != exitEnvironment || !strings.Contains(err.String(), says) {
			t.Errorf("paymentd %s: exit %d, %q; want exit 4 with %q", args, code, err.String(), says)
		}
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--version"}, &out, io.Discard); code != 0 || !strings.HasPrefix(out.String(), "paymentd ") {
		t.Errorf("exit %d, %q", code, out.String())
	}
}

// log is the standard error of a part.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// free returns n addresses that nobody listens on, or will: of a host that only this process uses.
func free(t *testing.T, n int) []string {
	t.Helper()
	pid := os.Getpid()
	var all []string
	for range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.252.%d.%d:0", pid>>8&0xff, pid&0xff))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are found
		all = append(all, l.Addr().String())
	}
	return all
}

// start runs a part until stop is called, which returns its exit code.
func start(t *testing.T, args ...string) (l *log, stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	l = &log{}
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, io.Discard, l) }()
	var once sync.Once
	var got int
	stop = func() int {
		once.Do(func() { cancel(); got = <-code })
		return got
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("paymentd %s:\n%s", strings.Join(args, " "), l)
		}
	})
	return l, stop
}

func ask(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func until(t *testing.T, limit time.Duration, url string, f func(code int, body string) bool) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		code, _, body := ask(t, "GET", url, "")
		if f(code, body) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s, last saw %d %s", limit, url, code, body)
		}
	}
}

func healthy(code int, _ string) bool { return code == 200 }

func TestStopsInOrder(t *testing.T) {
	addr, path := free(t, 1)[0], filepath.Join(t.TempDir(), "charges")
	l, stop := start(t, "acquirer", "--listen", addr, "--log", path, "--latency", "500ms", "--node", "outside-acquirer-1")
	until(t, time.Minute, "http://"+addr+"/healthz", healthy)
	type answer struct {
		code int
		body string
	}
	got := make(chan answer, 1)
	go func() {
		code, _, body := ask(t, "POST", "http://"+addr+"/charges", `{"payment":"p","request":"p","yen":1}`)
		got <- answer{code, body}
	}()
	until(t, time.Minute, "http://"+addr+"/charges/p", func(_ int, body string) bool { return strings.Contains(body, `"charges":1`) })
	began := time.Now()
	if code := stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("stopped after %s", d)
	}
	if a := <-got; a.code != 200 {
		t.Errorf("the request in flight got %d %s", a.code, a.body)
	}
	if !strings.Contains(l.String(), "node=outside-acquirer-1") {
		t.Errorf("log %s", l)
	}
}

func TestAnApplicationWithoutStoresServesItsState(t *testing.T) {
	t.Setenv(secretEnv, "s3cret")
	at := free(t, 4)
	store, app, entry, nobody := at[0], at[1], at[2], at[3]
	start(t, "params", "--listen", store, "--file", filepath.Join(t.TempDir(), "p"))
	until(t, time.Minute, "http://"+store+"/healthz", healthy)
	values, err := json.Marshal(map[string]any{"values": map[string]string{
		"mysql.endpoint": nobody, "cassandra.endpoints": nobody, "cassandra.dc": "tokyo", "epoch": "1",
		"acquirer.endpoint": "http://" + nobody, "cluster.form": "true", "batch.enabled": "false",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, body := ask(t, "PUT", "http://"+store+"/params", string(values)); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	l, stop := start(t, "online", "--listen", app, "--site", "tokyo", "--node", "tokyo-app-1", "--params", "http://"+store, "--defect", "new-request-key")
	until(t, time.Minute, "http://"+app+"/healthz", func(code int, body string) bool {
		return code == 503 && strings.Contains(body, "ledger: ")
	})
	code, h, body := ask(t, "POST", "http://"+app+"/payments", `{"from":1,"to":2,"yen":1}`, "X-Payment-Key", "k")
	if code != 503 || h.Get("X-Executed") != "none" || !strings.Contains(body, "connect to MySQL") {
		t.Errorf("a payment without a ledger: %d %v %s", code, h, body)
	}
	if _, _, body := ask(t, "GET", "http://"+app+"/status", ""); !strings.Contains(body, `"defects":["new-request-key"]`) || !strings.Contains(body, `"epoch":1`) {
		t.Errorf("status %s", body)
	}
	if !strings.Contains(l.String(), "planted defect") || strings.Contains(l.String(), "s3cret") {
		t.Errorf("log %s", l)
	}
	_, stopGateway := start(t, "gateway", "--listen", entry, "--site", "tokyo", "--node", "tokyo-gateway-1", "--backends", app+","+nobody)
	until(t, time.Minute, "http://"+entry+"/status", func(code int, body string) bool {
		return code == 200 && strings.Count(body, `"healthy":false`) == 2 && strings.Contains(body, "refused")
	})
	if code, h, _ := ask(t, "POST", "http://"+entry+"/payments", `{}`); code != 503 || h.Get("X-Executed") != "none" {
		t.Errorf("the gateway: %d %v", code, h)
	}
	for name, stop := range map[string]func() int{"online": stop, "gateway": stopGateway} {
		began := time.Now()
		if code := stop(); code != 0 || time.Since(began) > 20*time.Second {
			t.Errorf("%s: exit %d after %s", name, code, time.Since(began))
		}
	}
}
