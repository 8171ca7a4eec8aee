package online

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

// started runs a node over stores in memory until the test ends.
func started(t *testing.T, s *stores, p *paymenttest.Params, defects ...payment.Defect) *Node {
	n := New(Config{Name: "tokyo-app-1", Site: "tokyo", Params: p, Defects: defects, Connect: func(payment.Parameters) (payment.Stores, error) {
		return payment.Stores{Ledger: s.ledger, Journal: s.journal, Acquirer: s.acquirer}, nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

func ask(n *Node, method, path, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("X-Payment-Key", key)
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, r)
	return w
}

func TestAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		n := started(t, s, paymenttest.NewParams(paymenttest.Complete("1")))
		synctest.Wait()
		const good = `{"from":1,"to":2,"yen":100}`
		for _, c := range []struct {
			method, path, key, body string
			status                  int
			none                    bool
			says                    string
		}{
			{"POST", "/payments", "k1", good, 200, false, `{"key":"k1","state":"DONE","epoch":1,"node":"tokyo-app-1"}`},
			{"POST", "/payments", "k1", good, 200, false, `{"key":"k1","state":"DONE","epoch":1,"node":"tokyo-app-1"}`},
			{"POST", "/payments", "k1", `{"from":1,"to":2,"yen":99}`, 409, true, "another body"},
			{"POST", "/payments", "k2", good, 200, false, `"key":"k2"`},
			{"POST", "/payments", "", good, 400, true, "key is empty"},
			{"POST", "/payments", "k 3", good, 400, true, "allowed are"},
			{"POST", "/payments", "k3", `{"from":1,"to":1,"yen":1}`, 400, true, "same account"},
			{"POST", "/payments", "k3", `{"from":1,"to":77,"yen":1}`, 400, true, "no such account"},
			{"POST", "/payments", "k3", `{"from":1,"to":2,"yen":0}`, 400, true, "yen"},
			{"POST", "/payments", "k3", `{"from":1,"to":2,"yen":1.5}`, 400, true, "int64"},
			{"POST", "/payments", "k3", `{"from":1,"to":2,"yen":"1"}`, 400, true, "string"},
			{"POST", "/payments", "k3", `{"from":1,"to":2,"yen":1,"tip":1}`, 400, true, `unknown field \"tip\"`},
			{"POST", "/payments", "k3", good + good, 400, true, "more follows"},
			{"POST", "/payments", "k3", `{"from":1`, 400, true, "EOF"},
			{"POST", "/payments", "k3", ``, 400, true, "empty"},
			{"POST", "/payments", "k3", `[]`, 400, true, "array"},
			{"POST", "/payments", "k3", `{"from":` + strings.Repeat(" ", 70000) + `1}`, 413, true, "larger"},
			{"POST", "/probe", "", `{"slot":7,"n":123}`, 200, false, `{"slot":7,"n":123}`},
			{"POST", "/probe", "", `{"slot":-1,"n":123}`, 400, true, "slot"},
			{"POST", "/probe", "", `{"slot":"7"}`, 400, true, "string"},
			{"GET", "/payments?limit=1", "", "", 200, false, `{"payments":[{"key":"k1","state":"DONE","yen":100,"epoch":1}],"next":"k1"}`},
			{"GET", "/payments?after=k1", "", "", 200, false, `{"payments":[{"key":"k2","state":"DONE","yen":100,"epoch":1}],"next":""}`},
			{"GET", "/payments?after=k2", "", "", 200, false, `{"payments":[],"next":""}`},
			{"GET", "/payments?limit=0", "", "", 400, true, "limit"},
			{"GET", "/payments?limit=x", "", "", 400, true, "limit"},
			{"GET", "/payments/k2", "", "", 200, false, `"state":"DONE"`},
			{"GET", "/payments/k3", "", "", 404, true, "not found"},
			{"GET", "/healthz", "", "", 200, false, "true"},
			{"GET", "/nowhere", "", "", 404, true, "nothing is at"},
			{"PUT", "/payments", "", "", 404, true, "nothing is at PUT"},
		} {
			w := ask(n, c.method, c.path, c.key, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || (w.Header().Get("X-Executed") == "none") != c.none {
				t.Errorf("%s %s %q %.60s: %d, executed %q, %s; want %d, %q", c.method, c.path, c.key, c.body, w.Code, w.Header().Get("X-Executed"), w.Body, c.status, c.says)
			}
			if h := w.Header(); h.Get("X-Node") != "tokyo-app-1" || h.Get("X-Site") != "tokyo" || h.Get("X-Epoch") != "1" {
				t.Errorf("%s %s: headers %v do not say who answered", c.method, c.path, h)
			}
		}
	})
}

func TestOutcomes(t *testing.T) {
	const body = `{"from":1,"to":2,"yen":100}`
	proof := payment.NotExecuted(errors.New("read-only"))
	for _, c := range []struct {
		name   string
		break_ func(s *stores)
		status int
		none   bool
	}{
		{"the ledger refuses the row", func(s *stores) { s.ledger.Fail = once("open", proof, nil) }, 503, true},
		{"the row is unknown", func(s *stores) { s.ledger.Fail = once("open", errLost, nil) }, 504, false},
		{"the acquirer is not reached", func(s *stores) { s.acquirer.Fail = once("charge", proof, nil) }, 504, false},
		{"the ledger refuses the money", func(s *stores) { s.ledger.Fail = once("finish", proof, nil) }, 504, false},
		{"the journal times out", func(s *stores) { s.journal.Fail = once("append", nil, errLost) }, 504, false},
		{"another epoch", func(s *stores) { s.ledger.SetEpoch(2) }, 503, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStores()
			c.break_(s)
			n := started(t, s, paymenttest.NewParams(paymenttest.Complete("1")))
			synctest.Wait()
			w := ask(n, "POST", "/payments", "k", body)
			if w.Code != c.status || (w.Header().Get("X-Executed") == "none") != c.none {
				t.Errorf("%s: %d, executed %q, %s", c.name, w.Code, w.Header().Get("X-Executed"), w.Body)
			}
		})
	}
}

func TestACustomerWhoHangsUpDoesNotStopThePayment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		n := started(t, s, paymenttest.NewParams(paymenttest.Complete("1")))
		synctest.Wait()
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp()
		r := httptest.NewRequest("POST", "/payments", strings.NewReader(`{"from":1,"to":2,"yen":100}`)).WithContext(ctx)
		r.Header.Set("X-Payment-Key", "k")
		n.Handler().ServeHTTP(httptest.NewRecorder(), r)
		if p, err := s.ledger.Find(t.Context(), "k"); err != nil || p.State != payment.Done {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// Whoever comes on top of a crowd is turned away with proof, and taken again as soon as one has left.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // one who waits for ever fails it at once
		n := New(Config{Name: "tokyo-app-1"})
		slow, inside := make(chan struct{}), make(chan struct{})
		serve := n.admit(func(_ context.Context, _ *App, w http.ResponseWriter, _ *http.Request) {
			inside <- struct{}{}
			<-slow
			w.WriteHeader(200)
		})
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			serve(t.Context(), nil, w, httptest.NewRequest("POST", "/payments", nil))
			return w
		}
		answers := make(chan int, crowd+1)
		for range crowd {
			go func() { answers <- ask().Code }()
			<-inside
		}
		if w := ask(); w.Code != 503 || w.Header().Get("X-Executed") != "none" || !strings.Contains(w.Body.String(), "busy: 48 requests") {
			t.Errorf("on top of a crowd: %d, executed %q, %s", w.Code, w.Header().Get("X-Executed"), w.Body)
		}
		close(slow)
		for range crowd {
			if code := <-answers; code != 200 {
				t.Errorf("one of the crowd: %d", code)
			}
		}
		go func() { answers <- ask().Code }()
		<-inside
		if code := <-answers; code != 200 {
			t.Errorf("after the crowd: %d", code)
		}
	})
}

func TestStart(t *testing.T) {
	t.Run("waits for complete parameters", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := paymenttest.NewParams(map[string]string{payment.ParamEpoch: "1"})
			n := started(t, newStores(), p)
			time.Sleep(5 * time.Second)
			for _, path := range []string{"/healthz", "/payments"} {
				if w := ask(n, "GET", path, "", ""); w.Code != 503 || w.Header().Get("X-Executed") != "none" {
					t.Errorf("%s before the parameters: %d", path, w.Code)
				}
			}
			p.Set(paymenttest.Complete("1"))
			time.Sleep(time.Second)
			synctest.Wait()
			if w := ask(n, "GET", "/healthz", "", ""); w.Code != 200 {
				t.Errorf("with parameters: %d %s", w.Code, w.Body)
			}
		})
	})
	t.Run("gives up and says what it saw last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := paymenttest.NewParams(map[string]string{payment.ParamEpoch: "1"})
			n := New(Config{Name: "x", Site: "tokyo", Params: p, Wait: 3 * time.Second})
			began := time.Now()
			err := n.Run(t.Context())
			if !errors.Is(err, ErrParameters) || !strings.Contains(err.Error(), payment.ParamMySQL+" is missing") {
				t.Errorf("Run: %v", err)
			}
			if d := time.Since(began); d != 3*time.Second {
				t.Errorf("gave up after %s", d)
			}
		})
	})
	t.Run("keeps the epoch it was started with", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, p := newStores(), paymenttest.NewParams(paymenttest.Complete("1"))
			n := started(t, s, p)
			synctest.Wait()
			p.Set(map[string]string{payment.ParamEpoch: "2", payment.ParamClusterForm: "false"})
			s.ledger.SetEpoch(2)
			time.Sleep(time.Second)
			synctest.Wait()
			if w := ask(n, "GET", "/healthz", "", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "stale epoch") {
				t.Errorf("healthz in another epoch: %d %s", w.Code, w.Body)
			}
			var st Status
			if err := json.NewDecoder(ask(n, "GET", "/status", "", "").Body).Decode(&st); err != nil {
				t.Fatal(err)
			}
			if st.Epoch != 1 || st.Ready || !st.Formed || st.Params.Values[payment.ParamClusterForm] != "true" || st.Watched.Values[payment.ParamClusterForm] != "false" || st.Watched.Version != 2 {
				t.Errorf("status %+v", st)
			}
		})
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		var down atomic.Bool
		s.journal.Fail = func(m, _ string) (error, error) {
			if down.Load() {
				return errLost, nil
			}
			return nil, nil
		}
		n := started(t, s, paymenttest.NewParams(paymenttest.Complete("1")), payment.NewRequestKey)
		synctest.Wait()
		if w := ask(n, "GET", "/healthz", "", ""); w.Code != 200 {
			t.Fatalf("healthz: %d %s", w.Code, w.Body)
		}
		down.Store(true)
		time.Sleep(checkEvery)
		synctest.Wait()
		if w := ask(n, "GET", "/healthz", "", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "journal") {
			t.Errorf("healthz without a journal: %d %s", w.Code, w.Body)
		}
		down.Store(false)
		time.Sleep(checkEvery)
		synctest.Wait()
		n.Drain()
		if w := ask(n, "GET", "/healthz", "", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
			t.Errorf("healthz while draining: %d %s", w.Code, w.Body)
		}
		if w := ask(n, "POST", "/payments", "k", `{"from":1,"to":2,"yen":1}`); w.Code != 200 {
			t.Errorf("a payment while draining: %d %s", w.Code, w.Body)
		}
		b, _ := io.ReadAll(ask(n, "GET", "/status", "", "").Result().Body)
		if !strings.Contains(string(b), `"defects":["new-request-key"]`) {
			t.Errorf("status %s does not show the defect", b)
		}
	})
}

// TestWarmUp: a node whose database waits for its promotion writes probes to the journal and says how far it is; one that need not wait, or whose
// database was fenced in its own epoch, or that has no journal, does not.
func TestWarmUp(t *testing.T) {
	lost := errors.New("lost")
	for _, c := range []struct {
		name    string
		epoch   string // of the node; the store's is 1
		ledger  error
		journal error
		probes  int64
		said    bool // that it warms up, after 3 s
		over    time.Duration
	}{
		{"waits for its promotion", "2", nil, nil, warmProbes, true, 6 * time.Second},
		{"serves at once", "1", nil, nil, 0, false, time.Second},
		{"its database was fenced", "1", lost, nil, 0, false, time.Second},
		{"has no journal", "2", nil, lost, 0, true, 16 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStores()
				var probes atomic.Int64
				s.ledger.Fail = func(method, _ string) (error, error) { return c.ledger, nil }
				s.journal.Fail = func(method, _ string) (error, error) {
					if method == "probe" {
						probes.Add(1)
					}
					return c.journal, nil
				}
				n := started(t, s, paymenttest.NewParams(paymenttest.Complete(c.epoch)))
				warming := func() string {
					var status Status
					if err := json.Unmarshal(ask(n, "GET", "/status", "", "").Body.Bytes(), &status); err != nil {
						t.Fatal(err)
					}
					return status.Warming
				}
				time.Sleep(3 * time.Second)
				if said := warming() != ""; said != c.said {
					t.Errorf("after 3 s it says %q", warming())
				}
				time.Sleep(c.over)
				if got := probes.Load(); got != c.probes || warming() != "" {
					t.Errorf("%d probes, expected %d; it says %q", got, c.probes, warming())
				}
			})
		})
	}
}
