package batch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

func started(t *testing.T, l *paymenttest.Ledger, site string, p *paymenttest.Params) (n *Node, open *int) {
	open = new(int)
	n = New(Config{Name: site + "-batch-1", Site: site, Params: p, Every: 3 * time.Second, Connect: func(payment.Parameters) (payment.Settler, func() error, error) {
		*open++
		return l, func() error { *open--; return nil }, nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil || *open != 0 {
			t.Errorf("Run: %v, %d connections left", err, *open)
		}
	})
	return n, open
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSettlesOnlyWhereItIsEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := paymenttest.NewLedger(2, 0, 1)
		p := paymenttest.NewParams(paymenttest.Complete("1"))
		n, open := started(t, l, "tokyo", p)
		pass(10 * time.Second)
		if s := n.Status(); s.Enabled || s.Settled != 0 || s.LastDate != "" || *open != 0 {
			t.Errorf("not enabled: %+v", s)
		}
		p.Set(map[string]string{payment.ParamBatch: "true"})
		pass(watchEvery)
		if s := n.Status(); !s.Enabled || s.Settled != 1 || s.LastDate != "2023-02-01" || s.Epoch != 1 || s.Error != "" {
			t.Errorf("enabled: %+v", s)
		}
		pass(6 * time.Second)
		if s := n.Status(); s.Settled != 3 || s.LastDate != "2023-02-03" {
			t.Errorf("6 s later: %+v", s)
		}
		p.Set(map[string]string{payment.ParamBatch: "false"})
		pass(10 * time.Second)
		if s := n.Status(); s.Enabled || s.Settled != 3 || s.Epoch != 0 {
			t.Errorf("disabled: %+v", s)
		}
	})
}

func TestTheOtherRegionGoesOnWithTheNextDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := paymenttest.NewLedger(2, 0, 1)
		tokyoParams, osakaParams := paymenttest.NewParams(paymenttest.Complete("1")), paymenttest.NewParams(paymenttest.Complete("1"))
		tokyoParams.Set(map[string]string{payment.ParamBatch: "true"})
		tokyo, _ := started(t, l, "tokyo", tokyoParams)
		osaka, _ := started(t, l, "osaka", osakaParams)
		pass(4 * time.Second) // 02-01 and 02-02
		l.SetEpoch(2)
		pass(10 * time.Second)
		if s := tokyo.Status(); s.Settled != 2 || !strings.Contains(s.Error, "stale epoch") {
			t.Errorf("tokyo after the epoch was raised: %+v", s)
		}
		osakaParams.Set(map[string]string{payment.ParamEpoch: "2", payment.ParamBatch: "true"})
		pass(watchEvery)
		if s := osaka.Status(); s.Settled != 1 || s.LastDate != "2023-02-03" || s.LastSite != "osaka" || s.Epoch != 2 {
			t.Errorf("osaka: %+v", s)
		}
		if s := tokyo.Status(); s.LastDate != "2023-02-02" {
			t.Errorf("tokyo: %+v", s)
		}
	})
}

func TestStopsWhenItCannotReadThatItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := paymenttest.NewParams(paymenttest.Complete("1"))
		p.Set(map[string]string{payment.ParamBatch: "true"})
		var down atomic.Bool
		p.Fail = func() error {
			if down.Load() {
				return errors.New("no answer")
			}
			return nil
		}
		n, _ := started(t, paymenttest.NewLedger(2, 0, 1), "tokyo", p)
		pass(time.Second)
		down.Store(true)
		pass(10 * time.Second)
		if s := n.Status(); s.Enabled || s.Settled != 1 || !strings.Contains(s.Error, "no answer") {
			t.Errorf("%+v", s)
		}
		down.Store(false)
		pass(time.Second)
		var s Status
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
		if err := json.NewDecoder(w.Body).Decode(&s); err != nil || !s.Enabled || s.Settled != 2 || s.Error != "" || w.Header().Get("X-Site") != "tokyo" {
			t.Errorf("%+v, %v, %v", s, err, w.Header())
		}
	})
}

func TestIncompleteParametersAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := started(t, paymenttest.NewLedger(2, 0, 1), "tokyo", paymenttest.NewParams(map[string]string{payment.ParamBatch: "true"}))
		pass(time.Second)
		if s := n.Status(); s.Settled != 0 || !strings.Contains(s.Error, payment.ParamMySQL) {
			t.Errorf("%+v", s)
		}
	})
}
