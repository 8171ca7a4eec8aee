package paymenttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// World is a ledger with accounts 1 to 10 in epoch 1, as the contract needs it, and what surrounds it.
type World struct {
	Ledger    payment.Ledger
	Settler   payment.Settler
	SetEpoch  func(t *testing.T, n int64)
	Conserved func() error
}

// Contract is what every ledger keeps. fresh makes an empty one for each test.
func Contract(t *testing.T, fresh func(t *testing.T) World) {
	tokyo := payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: 1}
	osaka := payment.Writer{Node: "osaka-app-1", Site: "osaka", Epoch: 2}
	ctx := context.Background()

	t.Run("a payment goes from PENDING to DONE once", func(t *testing.T) {
		w := fresh(t)
		p := payment.Payment{Key: "once-1", From: 3, To: 2, Yen: 100}
		row, _, err := w.Ledger.Open(ctx, p, tokyo)
		want(t, "open", row, err, payment.Payment{Key: p.Key, From: 3, To: 2, Yen: 100, State: payment.Pending, Epoch: 1, Site: "tokyo", Node: "tokyo-app-1"})
		for range 2 {
			row, err = w.Ledger.Finish(ctx, p.Key, tokyo)
			want(t, "finish", row, err, payment.Payment{Key: p.Key, From: 3, To: 2, Yen: 100, State: payment.Done, Epoch: 1, Site: "tokyo", Node: "tokyo-app-1"})
		}
		again, _, err := w.Ledger.Open(ctx, p, payment.Writer{Node: "tokyo-app-2", Site: "tokyo", Epoch: 1})
		want(t, "open again", again, err, row)
		found, err := w.Ledger.Find(ctx, p.Key)
		want(t, "find", found, err, row)
		conserved(t, w)
	})
	t.Run("another body of the same key is a conflict", func(t *testing.T) {
		w := fresh(t)
		p := payment.Payment{Key: "conflict-1", From: 1, To: 2, Yen: 100}
		if _, _, err := w.Ledger.Open(ctx, p, tokyo); err != nil {
			t.Fatal(err)
		}
		for _, q := range []payment.Payment{{Key: p.Key, From: 1, To: 2, Yen: 101}, {Key: p.Key, From: 2, To: 1, Yen: 100}, {Key: p.Key, From: 1, To: 3, Yen: 100}} {
			_, _, err := w.Ledger.Open(ctx, q, tokyo)
			wantErr(t, fmt.Sprintf("open %+v", q), err, payment.ErrConflict, payment.ErrNotExecuted)
		}
	})
	t.Run("illegal payments are refused", func(t *testing.T) {
		w := fresh(t)
		for _, p := range []payment.Payment{
			{Key: "", From: 1, To: 2, Yen: 1}, {Key: "a b", From: 1, To: 2, Yen: 1}, {Key: "x*/", From: 1, To: 2, Yen: 1},
			{Key: "bad-1", From: 1, To: 1, Yen: 1}, {Key: "bad-2", From: 0, To: 1, Yen: 1}, {Key: "bad-3", From: 1, To: 2, Yen: 0},
		} {
			_, _, err := w.Ledger.Open(ctx, p, tokyo)
			wantErr(t, fmt.Sprintf("open %+v", p), err, payment.ErrNotExecuted)
		}
		_, _, err := w.Ledger.Open(ctx, payment.Payment{Key: "bad-4", From: 1, To: 999999, Yen: 1}, tokyo)
		wantErr(t, "unknown account", err, payment.ErrNoAccount, payment.ErrNotExecuted)
		_, err = w.Ledger.Find(ctx, "bad-4")
		wantErr(t, "find", err, payment.ErrNotFound)
		_, err = w.Ledger.Finish(ctx, "bad-4", tokyo)
		wantErr(t, "finish", err, payment.ErrNotFound, payment.ErrNotExecuted)
	})
	t.Run("a stale writer changes nothing", func(t *testing.T) {
		w := fresh(t)
		p := payment.Payment{Key: "stale-1", From: 1, To: 2, Yen: 100}
		if _, _, err := w.Ledger.Open(ctx, p, tokyo); err != nil {
			t.Fatal(err)
		}
		w.SetEpoch(t, 2)
		row, _, err := w.Ledger.Open(ctx, payment.Payment{Key: "stale-2", From: 1, To: 2, Yen: 100}, tokyo)
		wantErr(t, "open", err, payment.ErrStaleEpoch, payment.ErrNotExecuted)
		if row.State != "" {
			t.Errorf("open of a new key by a stale writer returns a row in state %q", row.State)
		}
		row, _, err = w.Ledger.Open(ctx, p, tokyo)
		wantErr(t, "open known", err, payment.ErrStaleEpoch, payment.ErrNotExecuted)
		if row.State != payment.Pending {
			t.Errorf("open of a known key by a stale writer returns state %q, want PENDING", row.State)
		}
		_, err = w.Ledger.Finish(ctx, p.Key, tokyo)
		wantErr(t, "finish", err, payment.ErrStaleEpoch, payment.ErrNotExecuted)
		wantErr(t, "probe", w.Ledger.Probe(ctx, payment.Probe{Slot: 1, N: 1}, tokyo), payment.ErrStaleEpoch, payment.ErrNotExecuted)
		_, err = w.Settler.Settle(ctx, tokyo)
		wantErr(t, "settle", err, payment.ErrStaleEpoch, payment.ErrNotExecuted)
		if err := w.Ledger.Ready(ctx, tokyo); err == nil {
			t.Error("the ledger is ready for a stale writer")
		}
		if _, err := w.Ledger.Find(ctx, "stale-2"); !errors.Is(err, payment.ErrNotFound) {
			t.Errorf("the stale writer's payment is there: %v", err)
		}
		conserved(t, w)

		row, err = w.Ledger.Finish(ctx, p.Key, osaka) // the new writer brings it forward
		want(t, "finish by the new writer", row, err, payment.Payment{Key: p.Key, From: 1, To: 2, Yen: 100, State: payment.Done, Epoch: 2, Site: "osaka", Node: "osaka-app-1"})
		row2, err := w.Ledger.Finish(ctx, p.Key, tokyo) // what is done is done
		want(t, "finish again by the stale writer", row2, err, row)
		conserved(t, w)
	})
	t.Run("only the first to open a payment has made it", func(t *testing.T) {
		w := fresh(t)
		p := payment.Payment{Key: "fresh-1", From: 1, To: 2, Yen: 100}
		var all sync.WaitGroup
		made := make([]bool, 8)
		for i := range made {
			all.Go(func() {
				var err error
				if _, made[i], err = w.Ledger.Open(ctx, p, tokyo); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n := 0
		for _, m := range made {
			if m {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of %d made it", n, len(made))
		}
	})
	t.Run("a payment is cancelled or done, never both", func(t *testing.T) {
		w := fresh(t)
		open := func(key string) {
			t.Helper()
			if _, _, err := w.Ledger.Open(ctx, payment.Payment{Key: key, From: 3, To: 2, Yen: 100}, tokyo); err != nil {
				t.Fatal(err)
			}
		}
		open("end-1")
		gone := payment.Payment{Key: "end-1", From: 3, To: 2, Yen: 100, State: payment.Cancelled, Epoch: 1, Site: "tokyo", Node: "tokyo-app-1"}
		for range 2 {
			row, err := w.Ledger.Cancel(ctx, "end-1", tokyo)
			want(t, "cancel", row, err, gone)
		}
		row, err := w.Ledger.Finish(ctx, "end-1", tokyo)
		wantErr(t, "finish a cancelled one", err, payment.ErrCancelled, payment.ErrNotExecuted)
		want(t, "finish a cancelled one", row, nil, gone)
		row, fresh, err := w.Ledger.Open(ctx, payment.Payment{Key: "end-1", From: 3, To: 2, Yen: 100}, tokyo)
		want(t, "open a cancelled one", row, err, gone)
		if fresh {
			t.Error("a cancelled payment is fresh")
		}
		open("end-2")
		if _, err := w.Ledger.Finish(ctx, "end-2", tokyo); err != nil {
			t.Fatal(err)
		}
		row, err = w.Ledger.Cancel(ctx, "end-2", tokyo)
		wantErr(t, "cancel a done one", err, payment.ErrDone, payment.ErrNotExecuted)
		if row.State != payment.Done {
			t.Errorf("cancel of a done payment returns %+v", row)
		}
		_, err = w.Ledger.Cancel(ctx, "end-3", tokyo)
		wantErr(t, "cancel none", err, payment.ErrNotFound, payment.ErrNotExecuted)

		var both sync.WaitGroup
		for i := range 20 { // at once
			key := fmt.Sprintf("race-%02d", i)
			open(key)
			var done, cancelled error
			both.Go(func() { _, done = w.Ledger.Finish(ctx, key, tokyo) })
			both.Go(func() { _, cancelled = w.Ledger.Cancel(ctx, key, tokyo) })
			both.Wait()
			row, err := w.Ledger.Find(ctx, key)
			if err != nil || (row.State == payment.Done) != (done == nil) || (row.State == payment.Cancelled) != (cancelled == nil) {
				t.Errorf("%+v, %v; finish %v, cancel %v", row, err, done, cancelled)
			}
		}
		conserved(t, w)
	})
	t.Run("a stale writer cancels and refunds nothing", func(t *testing.T) {
		w := fresh(t)
		if _, _, err := w.Ledger.Open(ctx, payment.Payment{Key: "stale-3", From: 1, To: 2, Yen: 100}, tokyo); err != nil {
			t.Fatal(err)
		}
		w.SetEpoch(t, 2)
		_, err := w.Ledger.Cancel(ctx, "stale-3", tokyo)
		wantErr(t, "cancel", err, payment.ErrStaleEpoch, payment.ErrNotExecuted)
		wantErr(t, "refunded", w.Ledger.Refunded(ctx, payment.Refund{Payment: "stale-3", Request: "stale-3", Yen: 100}, tokyo), payment.ErrStaleEpoch, payment.ErrNotExecuted)
		row, err := w.Ledger.Cancel(ctx, "stale-3", osaka)
		want(t, "cancel by the new writer", row, err, payment.Payment{Key: "stale-3", From: 1, To: 2, Yen: 100, State: payment.Cancelled, Epoch: 2, Site: "osaka", Node: "osaka-app-1"})
	})
	t.Run("a refund is recorded once", func(t *testing.T) {
		w := fresh(t)
		before, err := w.Ledger.Refunds(ctx)
		if err != nil || len(before) != 0 {
			t.Fatalf("%v, %v", before, err)
		}
		r := payment.Refund{Payment: "refund-1", Request: "a", Yen: 100}
		for range 2 {
			if err := w.Ledger.Refunded(ctx, r, tokyo); err != nil {
				t.Fatal(err)
			}
		}
		other := r
		other.Yen = 99
		wantErr(t, "another amount", w.Ledger.Refunded(ctx, other, tokyo), payment.ErrConflict, payment.ErrNotExecuted)
		second := payment.Refund{Payment: "refund-1", Request: "b", Yen: 100}
		if err := w.Ledger.Refunded(ctx, second, tokyo); err != nil {
			t.Fatal(err)
		}
		got, err := w.Ledger.Refunds(ctx)
		if err != nil || len(got) != 2 || got[0] != r || got[1] != second {
			t.Errorf("%v, %v", got, err)
		}
		conserved(t, w)
	})
	t.Run("rows are as old as they are", func(t *testing.T) {
		w := fresh(t)
		for i, key := range []string{"age-1", "age-2", "age-3"} {
			if _, _, err := w.Ledger.Open(ctx, payment.Payment{Key: key, From: 1, To: 2, Yen: 1}, tokyo); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				if _, err := w.Ledger.Finish(ctx, key, tokyo); err != nil {
					t.Fatal(err)
				}
			}
		}
		keys := func(rows []payment.Aged, err error) (out []string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range rows {
				if p.Age < 0 || p.Age > time.Hour || p.Yen != 1 || p.From != 1 || p.Site != "tokyo" {
					t.Errorf("%+v", p)
				}
				out = append(out, p.Key)
			}
			return out
		}
		for _, c := range []struct{ got, want []string }{
			{keys(w.Ledger.Audit(ctx, "age-", 10)), []string{"age-1", "age-2", "age-3"}},
			{keys(w.Ledger.Audit(ctx, "age-1", 1)), []string{"age-2"}},
			{keys(w.Ledger.Unfinished(ctx, "", 10)), []string{"age-1", "age-3"}},
			{keys(w.Ledger.Unfinished(ctx, "age-1", 10)), []string{"age-3"}},
		} {
			if !slices.Equal(c.got, c.want) {
				t.Errorf("%v, want %v", c.got, c.want)
			}
		}
		first, err := w.Ledger.Audit(ctx, "age-", 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // it is what is measured
		later, err := w.Ledger.Audit(ctx, "age-", 1)
		if err != nil || later[0].Age-first[0].Age < 15*time.Millisecond {
			t.Errorf("%v, and 20 ms later %v, %v", first, later, err)
		}
	})
	t.Run("many at once, on the same accounts and keys", func(t *testing.T) {
		w := fresh(t)
		var all sync.WaitGroup
		errs := make([]error, 200)
		for i := range errs {
			all.Go(func() {
				key := fmt.Sprintf("many-%03d", i/2) // each key twice
				p := payment.Payment{Key: key, From: 1 + i/2%4, To: 1 + (i/2+1)%4, Yen: int64(1 + i/2)}
				if _, _, errs[i] = w.Ledger.Open(ctx, p, tokyo); errs[i] == nil {
					_, errs[i] = w.Ledger.Finish(ctx, key, tokyo)
				}
			})
		}
		all.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("payment %d: %v", i, err)
			}
		}
		conserved(t, w)
		var got []string
		for after := "many-"; ; {
			rows, err := w.Ledger.List(ctx, after, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range rows {
				if p.State != payment.Done {
					t.Errorf("payment %s is %s", p.Key, p.State)
				}
				got = append(got, p.Key)
				after = p.Key
			}
			if len(rows) < 7 || len(got) >= 100 {
				break
			}
		}
		for i, key := range got[:min(100, len(got))] {
			if wantKey := fmt.Sprintf("many-%03d", i); key != wantKey {
				t.Fatalf("key %d of the list is %s, want %s", i, key, wantKey)
			}
		}
		if len(got) < 100 {
			t.Errorf("the list has %d payments, want 100", len(got))
		}
	})
	t.Run("probes are written again and again", func(t *testing.T) {
		w := fresh(t)
		for n := range int64(3) {
			if err := w.Ledger.Probe(ctx, payment.Probe{Slot: 5, N: n % 2}, tokyo); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Ledger.Ready(ctx, tokyo); err != nil {
			t.Errorf("the ledger is not ready: %v", err)
		}
	})
	t.Run("each business date is settled once", func(t *testing.T) {
		w := fresh(t)
		if _, err := w.Settler.Last(ctx); !errors.Is(err, payment.ErrNotFound) {
			t.Fatalf("last of none: %v", err)
		}
		for _, key := range []string{"date-1", "date-2"} {
			if _, _, err := w.Ledger.Open(ctx, payment.Payment{Key: key, From: 1, To: 2, Yen: 1}, tokyo); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ledger.Finish(ctx, key, tokyo); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		got := make([]payment.Settlement, 6)
		for i := range got {
			all.Go(func() {
				var err error
				if got[i], err = w.Settler.Settle(ctx, tokyo); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		seen, payments := map[string]bool{}, int64(0)
		for _, s := range got {
			seen[s.Date] = true
			payments += s.Payments
		}
		if len(seen) != len(got) || !seen["2023-02-01"] || !seen["2023-02-06"] {
			t.Errorf("settled %v, want six days from 2023-02-01", seen)
		}
		if payments < 2 {
			t.Errorf("settled %d payments, want 2 or more", payments)
		}
		if last, err := w.Settler.Last(ctx); err != nil || last.Date != "2023-02-06" || last.Site != "tokyo" {
			t.Errorf("last is %+v, %v", last, err)
		}
	})
	t.Run("a context that ended is proof", func(t *testing.T) {
		w := fresh(t)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := w.Ledger.Open(ended, payment.Payment{Key: "ended-1", From: 1, To: 2, Yen: 1}, tokyo)
		wantErr(t, "open", err, payment.ErrNotExecuted)
	})
}

func want(t *testing.T, what string, got payment.Payment, err error, exp payment.Payment) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got != exp {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, exp)
	}
}

func wantErr(t *testing.T, what string, err error, all ...error) {
	t.Helper()
	for _, e := range all {
		if !errors.Is(err, e) {
			t.Errorf("%s: error %v is not %q", what, err, e)
		}
	}
}

func conserved(t *testing.T, w World) {
	t.Helper()
	if err := w.Conserved(); err != nil {
		t.Errorf("money is not conserved: %v", err)
	}
}
