package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

func remote(t *testing.T, h http.Handler) *Remote {
	t.Helper()
	api := httptest.NewServer(h)
	t.Cleanup(api.Close)
	r := NewRemote("127.9.0.53:5353", api.Listener.Addr().String())
	t.Cleanup(r.Close)
	return r
}

func TestRemote(t *testing.T) {
	s := twoViews(t)
	r := remote(t, s.Handler())
	if r.Server() != "127.9.0.53:5353" {
		t.Errorf("server %s", r.Server())
	}
	if err := r.Point(t.Context(), "pay", "osaka"); err != nil {
		t.Fatal(err)
	}
	if err := r.Point(t.Context(), "new.kirikae.test.", "tokyo"); err != nil {
		t.Fatal(err)
	}
	got, err := r.Records(t.Context())
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range s.Records() {
		// over the wire a time has no monotonic part
		if !got[i].Added.Equal(want.Added) || !got[i].Changed.Equal(want.Changed) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
		got[i].Added, got[i].Changed, want.Added, want.Changed = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	if got[2].Site != "osaka" || got[2].Address != "127.9.3.51" {
		t.Errorf("%+v", got[2])
	}
	err = r.Point(t.Context(), "pay", "osako")
	if err == nil || !strings.Contains(err.Error(), `did you mean "osaka"`) || errors.Is(err, topology.ErrUnknown) || errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("a site that is not there: %v", err)
	}
}

func TestRemoteErrors(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		kind error
		want string
	}{
		"no answer": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, topology.ErrUnknown, "EOF"},
		"not JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, topology.ErrUnknown, "invalid character"},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request) { reply(w, topology.Record{Name: "pay.", Site: "tokyo"}) }, nil, `leads to "tokyo", not to "osaka"`},
		"refused":   {http.NotFound, nil, "404 page not found"},
	} {
		err := remote(t, c.h).Point(t.Context(), "pay", "osaka")
		if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if errors.Is(err, topology.ErrUnreachable) {
			t.Errorf("%s: %v says that nothing was sent", name, err)
		}
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it never accepts: what is sent there is never answered
	r := NewRemote("", l.Addr().String())
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Records(ctx); !errors.Is(err, topology.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	gone := NewRemote("", "127.253.9.9:9") // nobody asks for port 0 there
	if err := gone.Point(t.Context(), "pay", "osaka"); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestHandlerRefuses(t *testing.T) {
	s := twoViews(t)
	for _, body := range []string{"", "{", `{"name":"pay"}`, `{"name":"pay","to":"osaka","ttl":5}`} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/point", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if s.Records()[1].Site != "tokyo" {
		t.Error("a refused change happened")
	}
}
