package mysql

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/payment/schema"
)

// gone waits until the server's process has ended by itself.
func (p *process) gone(ctx context.Context) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.t.Fatalf("%s still runs: %v", p.o.Address, context.Cause(ctx))
	}
}

// TestLiveRebuild empties a server that diverged and rebuilds it from the other, by CLONE and by a logical copy.
func TestLiveRebuild(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), 240*time.Second)
	defer cancel()
	dir := t.TempDir()
	osaka := start(t, in, NodeOptions{DataDir: filepath.Join(dir, "osaka"), Address: "127.205.2.21", ServerID: 2})
	old := start(t, in, NodeOptions{DataDir: filepath.Join(dir, "old"), Address: "127.205.1.21", ServerID: 1})
	osaka.bootstrap(ctx)
	old.bootstrap(ctx)
	O, T := osaka.ops(ctx, "osaka-mysql-1"), old.ops(ctx, "tokyo-mysql-1")
	must(t, T.ApplySchema(ctx, append(schema.MySQL(), schema.Seed(10, 1000, 1, "tokyo")...)))
	must(t, O.Follow(ctx, "127.205.1.21", 3306, secret, FollowOptions{}))
	open, done := app(t, "127.205.1.21", "open"), app(t, "127.205.1.21", "pay")
	for i := range 5 {
		must(t, pay(ctx, open, done, fmt.Sprintf("both-%d", i)))
	}
	ok, err := O.WaitExecuted(ctx, status(ctx, t, T).Executed, 20*time.Second)
	if err != nil || !ok {
		t.Fatalf("osaka did not catch up: %v", err)
	}
	must(t, O.Detach(ctx))
	must(t, O.SetWritable(ctx, true))
	for i := range 3 {
		must(t, pay(ctx, open, done, fmt.Sprintf("tokyo-%d", i)))
	}
	must(t, T.SetWritable(ctx, false))
	openO, doneO := app(t, "127.205.2.21", "open"), app(t, "127.205.2.21", "pay")
	for i := range 4 {
		must(t, pay(ctx, openO, doneO, fmt.Sprintf("osaka-%d", i)))
	}

	// What Tokyo alone has.
	had, err := T.Holdings(ctx)
	must(t, err)
	serving, err := O.Holdings(ctx)
	must(t, err)
	rows := had.Lacking(serving)
	if len(rows.Payments) != 3 || len(rows.Entries) != 6 || rows.Payments[0].Key != "tokyo-0" || rows.Payments[0].There != "" {
		t.Errorf("tokyo alone has %+v", rows)
	}
	a, err := history.ParseGTIDSet(had.Executed)
	must(t, err)
	b, err := history.ParseGTIDSet(serving.Executed)
	must(t, err)
	if n := a.Subtract(b).Count("pay"); n != 3 {
		t.Errorf("%d pay transactions are tokyo's alone, want 3", n)
	}
	uuid := had.UUID
	old.kill()

	for i, variant := range []string{"clone", "dump"} {
		began := time.Now()
		p := start(t, in, NodeOptions{DataDir: filepath.Join(dir, variant), Address: fmt.Sprintf("127.205.1.%d", 31+i), ServerID: uint32(11 + i)})
		p.bootstrap(ctx)
		N := p.ops(ctx, "tokyo-mysql-1")
		if variant == "clone" {
			must(t, O.OfferClone(ctx))
			must(t, N.CloneFrom(ctx, "127.205.2.21", 3306, secret))
			p.gone(ctx)
			p.start()
			must(t, N.WaitReady(ctx))
			if st, err := N.CloneState(ctx); err != nil || st.State != "Completed" || st.Error != "" {
				t.Errorf("clone: %+v %v", st, err)
			}
		} else {
			must(t, N.CopyFrom(ctx, O))
			must(t, N.CopyFrom(ctx, O)) // once more, as after an interruption
		}
		st := status(ctx, t, N)
		if !st.SuperReadOnly || !st.PersistedSuperReadOnly || st.UUID == uuid || st.Source != "" {
			t.Errorf("%s leaves %+v", variant, st)
		}
		must(t, N.Follow(ctx, "127.205.2.21", 3306, secret, FollowOptions{}))
		must(t, pay(ctx, openO, doneO, "after-"+variant))
		ok, err := N.WaitExecuted(ctx, status(ctx, t, O).Executed, 30*time.Second)
		if err != nil || !ok {
			t.Fatalf("%s does not follow: %v, %+v", variant, err, status(ctx, t, N))
		}
		t.Logf("%s: rebuilt and following after %s", variant, time.Since(began))
		want, err := O.Holdings(ctx)
		must(t, err)
		got, err := N.Holdings(ctx)
		must(t, err)
		if d, e := want.Lacking(got), got.Lacking(want); len(d.Payments)+len(d.Entries)+len(e.Payments)+len(e.Entries) > 0 {
			t.Errorf("%s: osaka alone %+v, tokyo alone %+v", variant, d, e)
		}
		if got.Executed != want.Executed {
			t.Errorf("%s executed %s, osaka %s", variant, got.Executed, want.Executed)
		}
		if len(got.Accounts) != 10 || fmt.Sprint(got.Accounts) != fmt.Sprint(want.Accounts) {
			t.Errorf("%s accounts %v, want %v", variant, got.Accounts, want.Accounts)
		}
		var opened string
		for _, s := range []*Server{O, N} {
			r, err := s.Query(ctx, "SELECT CAST(opened AS CHAR) FROM pay.payments WHERE pay_key = 'both-0'")
			must(t, err)
			if opened != "" && r[0][0] != opened {
				t.Errorf("%s: invisible column differs: %s and %s", variant, opened, r[0][0])
			}
			opened = r[0][0]
			t.Logf("%s opened %s", s.Name(), opened)
		}
		must(t, N.Detach(ctx))
		p.kill()
	}
}
