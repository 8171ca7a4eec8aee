package fence

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// direct carries requests to a handler, without a network.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// cut is a network that carries nothing.
type cut struct{}

func (cut) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("cut") }

func TestWire(t *testing.T) {
	w := open(t, filepath.Join(t.TempDir(), "witness"))
	c := NewClient("http://witness", direct{w.Handler()})
	ctx := t.Context()
	l, err := c.Lease(ctx)
	if err != nil || l.Holder != tokyo || l.Left == 0 {
		t.Fatalf("%v, %v", l, err)
	}
	if l, err = c.Renew(ctx, tokyo, "tokyo-mysql-1", 0); err != nil || l.Node != "tokyo-mysql-1" || l.TTL.Duration() != ttl {
		t.Fatalf("%v, %v", l, err)
	}
	var held *HeldError
	if l, err = c.Take(ctx, osaka, nil); !errors.As(err, &held) || held.Lease.Holder != tokyo || l.Holder != tokyo || !strings.Contains(err.Error(), "for another") {
		t.Fatalf("%v, %v", l, err)
	}
	if l, err = c.Take(ctx, osaka, &Override{"責任者", "tokyo has no power"}); err != nil || l.Override == nil || l.Override.Why != "tokyo has no power" {
		t.Fatalf("%v, %v", l, err)
	}
	if _, err = c.Renew(ctx, tokyo, "tokyo-mysql-1", 1); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	if l, err = c.Release(ctx, osaka); err != nil || !l.Released {
		t.Fatalf("%v, %v", l, err)
	}
	if l, err = c.Fenced(ctx, osaka, "osaka-mysql-1", 2); err != nil || l.Holder != "" {
		t.Fatalf("%v, %v", l, err)
	}
	if _, err = NewClient("http://witness", cut{}).Lease(context.WithoutCancel(ctx)); !errors.Is(err, ErrSilent) {
		t.Errorf("a cut network: %v", err)
	}
	for path, body := range map[string]string{
		"/renew":   `{"site":"tokyo"}`,
		"/take":    `{"site":"tokyo","override":{"who":"x","why":""}}`,
		"/release": `{"sight":"tokyo"}`,
		"/fenced":  `{}`,
	} {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest("POST", path, strings.NewReader(body)))
		if rec.Code != http.StatusBadRequest {
			t.Errorf("%s %s: %d", path, body, rec.Code)
		}
	}
}
