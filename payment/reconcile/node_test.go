package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

func (m maker) config(p *paymenttest.Params) Config {
	return Config{Name: "osaka-reconcile-1", Site: "osaka", Params: p, Grace: grace, Every: 2 * time.Second, Salvage: m.salvage,
		Connect: func(payment.Parameters) (payment.Stores, error) {
			return payment.Stores{Ledger: m.Ledger, Journal: m.Journal, Acquirer: m.Acquirer}, nil
		}}
}

func TestNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platform(t)
		m.open("a")
		m.open("b")
		m.charge("b", "b")
		m.Ledger.SetEpoch(2)
		var closed atomic.Int64
		p := paymenttest.NewParams(map[string]string{payment.ParamEpoch: "2"}) // not complete yet
		c := m.config(p)
		connect := c.Connect
		c.Connect = func(x payment.Parameters) (payment.Stores, error) {
			s, err := connect(x)
			s.Run = func(ctx context.Context) error { <-ctx.Done(); return nil }
			s.Close = func() error { closed.Add(1); return nil }
			return s, err
		}
		n := New(c)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		time.Sleep(time.Second)
		if s := n.Status(); s.Runs != 0 || !strings.Contains(s.Error, "parameters") {
			t.Errorf("without parameters: %+v", s)
		}
		p.Set(paymenttest.Complete("2"))
		time.Sleep(5 * time.Second)
		if s := n.Status(); s.Runs < 2 || s.Error != "" || s.Epoch != 2 || len(s.Repaired) != 0 || s.Reports[0].Young != 2 {
			t.Errorf("while they are young: %+v", s)
		}
		time.Sleep(grace)
		s := n.Status()
		if s.Repaired[DidCancel] != 1 || s.Repaired[DidFinish] != 1 || s.Reports[len(s.Reports)-1].Found() != 0 {
			t.Errorf("later: %+v", s)
		}
		if wrong := m.Disagreements(); len(wrong) > 0 {
			t.Errorf("%v", wrong)
		}

		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/run", nil))
		var rep Report
		if err := json.NewDecoder(w.Body).Decode(&rep); err != nil || w.Code != 200 || rep.Rows != 2 || rep.Changed() || time.Duration(rep.Grace) != grace {
			t.Errorf("a run at once: %d %+v, %v", w.Code, rep, err)
		}
		w = httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
		var told Status
		if err := json.NewDecoder(w.Body).Decode(&told); err != nil || told.Runs < s.Runs || told.Node != "osaka-reconcile-1" || w.Header().Get("X-Epoch") != "2" {
			t.Errorf("%+v, %v", told, err)
		}

		p.Set(map[string]string{payment.ParamEpoch: "3"}) // another epoch: connected anew, and stale
		time.Sleep(3 * time.Second)
		if s := n.Status(); !strings.Contains(s.Error, "stale epoch") || s.Epoch != 3 || closed.Load() != 1 {
			t.Errorf("in another epoch: %+v, closed %d times", s.Error, closed.Load())
		}
		m.Ledger.SetEpoch(3)
		time.Sleep(3 * time.Second)
		if s := n.Status(); s.Error != "" {
			t.Errorf("it does not come back: %s", s.Error)
		}
		cancel()
		if err := <-ended; err != nil || closed.Load() != 2 {
			t.Errorf("%v, closed %d times", err, closed.Load())
		}
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platform(t)
		m.open("a")
		m.Ledger.SetEpoch(2)
		ready := time.Now().Add(grace + 3*time.Second)
		m.Journal.Fail = func(method, _ string) (error, error) {
			if time.Now().Before(ready) {
				return paymenttest.ErrLost, nil
			}
			return nil, nil
		}
		rep, err := New(m.config(paymenttest.NewParams(paymenttest.Complete("2")))).Once(t.Context())
		if err != nil || rep.Repaired[DidCancel] != 1 {
			t.Errorf("%+v, %v", rep, err)
		}
		ready = time.Now().Add(time.Hour)
		_, err = New(m.config(paymenttest.NewParams(paymenttest.Complete("2")))).Once(t.Context())
		if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "connection lost") {
			t.Errorf("%v", err)
		}
		_, err = New(m.config(paymenttest.NewParams(nil))).Once(t.Context())
		if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%v", err)
		}
		c := m.config(paymenttest.NewParams(paymenttest.Complete("2")))
		c.Connect = func(payment.Parameters) (payment.Stores, error) {
			return payment.Stores{}, errors.New("no such server")
		}
		if _, err = New(c).Once(t.Context()); !errors.Is(err, ErrNotReady) {
			t.Errorf("%v", err)
		}
	})
}

func TestReadSalvage(t *testing.T) {
	const good = `{"key":"k1","from":1,"to":2,"yen":100,"state":"DONE","epoch":1,"site":"tokyo","node":"n","opened":"2026-01-01"}` + "\n"
	for _, c := range []struct {
		name, content, says string
		rows                int
	}{
		{"good", good + strings.Replace(good, "k1", "k2", 1), "", 2},
		{"one twice, alike", good + good, "", 1},
		{"empty", "", "", 0},
		{"one twice, different", good + strings.Replace(good, "DONE", "PENDING", 1), "twice", 0},
		{"cut off", good + good[:40], "row 2", 0},
		{"no key", strings.Replace(good, "k1", "", 1), "key is empty", 0},
		{"no accounts", `{"key":"k1","yen":100,"state":"DONE"}`, "from is 0", 0},
		{"no state", strings.Replace(good, "DONE", "", 1), "state", 0},
	} {
		path := filepath.Join(t.TempDir(), "rows")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSalvage(path)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || len(got) != c.rows {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if got, err := ReadSalvage(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Errorf("a file that is not there: %v", got)
	}
}
