package acquirer

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
)

func charge(id, request string) payment.Charge {
	return payment.Charge{Payment: id, Request: request, Yen: 100, From: 3, To: 4}
}

func TestWhatIsGivenBackStaysGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges")
	s, c := open(t, path, 0)
	for _, x := range []payment.Charge{charge("once", "once"), charge("twice", "twice"), charge("twice", "again")} {
		if _, err := c.Charge(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		r    payment.Refund
		dup  bool
		fail bool
	}{
		{payment.Refund{Payment: "once", Request: "once", Yen: 100}, false, false},
		{payment.Refund{Payment: "once", Request: "once", Yen: 100}, true, false},
		{payment.Refund{Payment: "twice", Request: "again", Yen: 100}, false, false},
		{payment.Refund{Payment: "twice", Request: "twice", Yen: 99}, false, true},
		{payment.Refund{Payment: "once", Request: "twice", Yen: 100}, false, true},
		{payment.Refund{Payment: "none", Request: "none", Yen: 100}, false, true},
	} {
		dup, err := c.Refund(t.Context(), x.r)
		if dup != x.dup || (err != nil) != x.fail || x.fail && !errors.Is(err, payment.ErrNotExecuted) {
			t.Errorf("%+v: dup %v, %v", x.r, dup, err)
		}
	}
	for range 2 { // and after a restart
		for _, x := range []struct {
			charge payment.Charge
			closed bool
		}{{charge("once", "once"), true}, {charge("once", "new"), true}, {charge("twice", "again"), true}, {charge("twice", "twice"), false}} {
			dup, err := c.Charge(t.Context(), x.charge)
			if errors.Is(err, payment.ErrClosed) != x.closed || errors.Is(err, payment.ErrNotExecuted) != x.closed || dup == x.closed {
				t.Errorf("charge %+v again: dup %v, %v", x.charge, dup, err)
			}
		}
		once, err1 := c.Status(t.Context(), "once")
		twice, err2 := c.Status(t.Context(), "twice")
		if err1 != nil || err2 != nil || !once.Closed() || twice.Closed() || len(twice.Held()) != 1 || twice.Held()[0].Charge != charge("twice", "twice") || twice.Held()[0].Age <= 0 {
			t.Errorf("%+v, %v, %+v, %v", once, err1, twice, err2)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, c = open(t, path, 0)
	}
	lines, err := ReadClosings(path + ".closings")
	if err != nil || len(lines) != 3 || lines[0].Kind != KindRefund || lines[0].Dup || !lines[1].Dup || lines[2].Request != "again" || lines[0].T == 0 {
		t.Errorf("%+v, %v", lines, err)
	}
	charges, err := ReadLog(path) // which no refund stands in
	if err != nil || len(charges) != 5 {
		t.Errorf("%+v, %v", charges, err)
	}
}

func TestAVoidedPaymentIsNeverCharged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges")
	s, c := open(t, path, 0)
	if _, err := c.Charge(t.Context(), charge("charged", "charged")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if a, err := c.Void(t.Context(), "charged"); err != nil || a.Voided || len(a.Charges) != 1 {
			t.Errorf("a charged one: %+v, %v", a, err)
		}
		if a, err := c.Void(t.Context(), "new"); err != nil || !a.Voided || !a.Closed() {
			t.Errorf("a new one: %+v, %v", a, err)
		}
		if _, err := c.Charge(t.Context(), charge("new", "new")); !errors.Is(err, payment.ErrClosed) {
			t.Errorf("charge a voided one: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, c = open(t, path, 0)
	}
	if _, err := c.Void(t.Context(), "not a key"); !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("%v", err)
	}
	if lines, err := ReadClosings(path + ".closings"); err != nil || len(lines) != 2 || lines[0].Kind != KindVoid || lines[0].Dup || !lines[1].Dup {
		t.Errorf("%+v, %v", lines, err)
	}
	if a, err := c.Status(t.Context(), "never"); err != nil || a.Payment != "never" || len(a.Charges) > 0 || a.Closed() {
		t.Errorf("%+v, %v", a, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Void(t.Context(), "late"); err == nil {
		t.Error("voided without a log")
	}
	if _, err := c.Refund(t.Context(), payment.Refund{Payment: "charged", Request: "charged", Yen: 100}); err == nil {
		t.Error("gave back without a log")
	}
}

// Whichever comes first decides, and both are told the same.
func TestAVoidThatRacesWithACharge(t *testing.T) {
	_, c := open(t, filepath.Join(t.TempDir(), "charges"), 0)
	for i := range 30 {
		id := "p" + string(rune('a'+i))
		if i >= 26 {
			id = "q" + string(rune('a'+i-26))
		}
		var both sync.WaitGroup
		var charged error
		var voided payment.Account
		both.Go(func() { _, charged = c.Charge(t.Context(), charge(id, id)) })
		both.Go(func() {
			var err error
			if voided, err = c.Void(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if voided.Voided != errors.Is(charged, payment.ErrClosed) || (charged == nil) == voided.Voided {
			t.Errorf("%s: charge %v, void %+v", id, charged, voided)
		}
	}
}

func TestAccounts(t *testing.T) {
	_, c := open(t, filepath.Join(t.TempDir(), "charges"), 0)
	if all, err := c.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	for _, id := range []string{"b", "a", "c"} {
		if _, err := c.Charge(t.Context(), charge(id, id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Void(t.Context(), "aa"); err != nil {
		t.Fatal(err)
	}
	all, err := c.Accounts(t.Context())
	if err != nil || len(all) != 4 || all[0].Payment != "a" || all[1].Payment != "aa" || !all[1].Voided || all[3].Charges[0].To != 4 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestSlow(t *testing.T) {
	s, err := Open(Config{Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	defer func() { server.Close(); s.Close() }()
	put := func(body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest("PUT", server.URL+"/latency", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	for body, says := range map[string]string{
		`{"before":"-1s"}`: "want 0 or more", `{"after":"5"}`: "missing unit", `{"befor":"1s"}`: "unknown field", `{"every":-1}`: "want 0 or more",
	} {
		if code, got := put(body); code != 400 || !strings.Contains(got, says) {
			t.Errorf("%s: %d %s", body, code, got)
		}
	}
	// Every other charge waits so long that whoever asked for it hangs up.
	if code, got := put(`{"before":"1h","after":"1ms","every":2}`); code != 200 || !strings.Contains(got, `{"before":"1h0m0s","after":"1ms","every":2}`) {
		t.Fatalf("%d %s", code, got)
	}
	hasty := NewClient(server.URL, server.Client().Transport, 2*time.Second) // long enough to get there on a busy machine
	patient := NewClient(server.URL, server.Client().Transport, 20*time.Second)
	for i, want := range []bool{true, false, true} {
		c, id := patient, "p"+string(rune('0'+i))
		if !want {
			c = hasty
		}
		if _, err := c.Charge(t.Context(), charge(id, id)); (err == nil) != want {
			t.Errorf("charge %d: %v", i, err)
		}
	}
	inFlight := func() (n struct{ Uncharged, Charged int64 }) {
		t.Helper()
		res, err := server.Client().Get(server.URL + "/status")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		status := struct {
			InFlight any `json:"in_flight"`
		}{&n}
		if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
			t.Fatal(err)
		}
		return n
	}
	waitFor := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited 20 s for %s, last saw %+v", what, inFlight())
			}
		}
	}
	waitFor("the hasty one to be forgotten", func() bool { return inFlight().Uncharged == 0 })
	if a, err := patient.Status(t.Context(), "p1"); err != nil || len(a.Charges) != 0 {
		t.Errorf("one that hung up was charged: %+v, %v", a, err)
	}

	// A void in the meantime decides, and the latency of those that wait is not changed under them.
	if code, _ := put(`{"after":"500ms"}`); code != 200 {
		t.Fatal(code)
	}
	ended := make(chan error, 1)
	go func() { _, err := patient.Charge(t.Context(), charge("p3", "p3")); ended <- err }()
	waitFor("a charged one in flight", func() bool { return inFlight().Charged == 1 })
	if code, _ := put(`{}`); code != 200 {
		t.Fatal(code)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if code, _ := put(`{"before":"700ms"}`); code != 200 {
		t.Fatal(code)
	}
	go func() { _, err := patient.Charge(t.Context(), charge("p4", "p4")); ended <- err }()
	waitFor("an uncharged one in flight", func() bool { return inFlight().Uncharged == 1 })
	a, err := patient.Void(t.Context(), "p4")
	if err := <-ended; err != nil != a.Voided {
		t.Errorf("voided %+v, and the charge says %v", a, err)
	}
	if err != nil {
		t.Error(err)
	}
}
