package fault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(from, to topology.Site, s topology.Service) topology.LinkID {
	return topology.LinkID{From: from, To: to, Service: s}
}

func agree(t *testing.T, what string, found []history.AttestData, want int) {
	t.Helper()
	if len(found) != want {
		t.Errorf("%s: %d links attested, want %d", what, len(found), want)
	}
	for _, a := range found {
		if !a.Agrees {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// The loss of a region: cut before kill, in the declared order, felt by old and new connections, and soon: on a free machine it takes some 10 ms.
func TestRegionLoss(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{KeepLost: true})
	ctx := context.Background()
	before, err := g.Attest(ctx, Before)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "before", before, 12)
	for _, d := range g.probe.doors { // the probes used the held lines; new ones come in the background
		for wait := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			d.mu.Lock()
			held := d.held != nil
			d.mu.Unlock()
			if held {
				break
			}
			if time.Now().After(wait) {
				t.Fatalf("no line is held through %s", d.Address)
			}
		}
	}
	w.acts = nil
	out, err := g.Inject(ctx, RegionLoss{"tokyo"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`osaka>tokyo/cassandra "cut"`, `osaka>tokyo/mysql "cut"`, `tokyo>osaka/cassandra "cut"`, `tokyo>osaka/mysql "cut"`,
		`outside>tokyo/http "cut"`, `tokyo>outside/http "cut"`,
		`outside>tokyo/acquirer "cut"`, `tokyo>outside/acquirer "cut"`,
		`kill tokyo-cassandra-1`, `kill tokyo-gateway-1`, `kill tokyo-mysql-1`,
	}
	slices.Sort(w.acts[8:]) // nodes die at once, after the last link was cut
	if !slices.Equal(w.acts, want) {
		t.Errorf("acts\n%s\nwant\n%s", strings.Join(w.acts, "\n"), strings.Join(want, "\n"))
	}
	agree(t, "during", out.Attest, 8)
	for _, a := range out.Attest {
		if a.Declared != "cut" || a.Old != "cut" || a.New != "cut" {
			t.Errorf("%+v", a)
		}
	}
	if !out.Felt() || !(out.Began < out.Cut && out.Cut < out.Done) || len(out.Targets) != 11 {
		t.Errorf("%+v", out.FaultData)
	}
	if d := out.Done.Sub(out.Began); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	t.Logf("cut after %v, all after %v", out.Cut.Sub(out.Began), out.Done.Sub(out.Began))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if l, _ := w.links[0].Layers(ctx); l.Fault.Kind != topology.Cut {
		t.Errorf("a lost region was healed at the end")
	}
	run := read()
	if cut, ok := run.Cut(); !ok || cut != out.Cut {
		t.Errorf("the run's cut is %v %v, want %v", cut, ok, out.Cut)
	}
	attests, err := history.Marked[history.AttestData](run, history.KindAttest)
	if err != nil || len(attests) != 20 {
		t.Errorf("%d attest marks, %v", len(attests), err)
	}
}

// Traffic goes around the proxies: everything answers that it is done, and no probe agrees.
func TestPlantedBypassIsNotFelt(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(around(w), rec, Options{Planted: "traffic goes around the proxies"})
	before, err := g.Attest(context.Background(), Before)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "before", before, 12)
	out, err := g.Inject(context.Background(), RegionLoss{"tokyo"})
	if err != nil {
		t.Fatal(err)
	}
	if out.Felt() || len(out.Attest) != 8 {
		t.Errorf("felt: %+v", out.Attest)
	}
	for _, a := range out.Attest {
		if a.Agrees || a.Declared != "cut" || a.New != "open" {
			t.Errorf("%+v", a)
		}
	}
	g.Close()
	faults, _ := history.Marked[history.FaultData](read(), history.KindFault)
	if len(faults) == 0 || faults[0].Data.Planted == "" {
		t.Errorf("fault marks %+v", faults)
	}
}

func TestIsolationAndHeal(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{})
	ctx := context.Background()
	f := Isolation{Site: "tokyo", From: "osaka"}
	out, err := g.Inject(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "during", out.Attest, 4)
	if out.Cut == 0 || len(out.Targets) != 4 {
		t.Errorf("%+v", out.FaultData)
	}
	for _, n := range w.nodes {
		if n.state != topology.Running {
			t.Errorf("%s is %s", n.name, n.state)
		}
	}
	if _, err := g.Inject(ctx, f); err == nil {
		t.Error("injected twice")
	}
	all, err := g.Attest(ctx, During)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "customers still reach both", all, 12)
	if err := g.Heal(ctx, f); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	after := 0
	attests, _ := history.Marked[history.AttestData](read(), history.KindAttest)
	for _, a := range attests {
		if a.Data.When == After {
			after++
			if !a.Data.Agrees || a.Data.Declared != "open" {
				t.Errorf("%+v", a.Data)
			}
		}
	}
	if after != 4 {
		t.Errorf("%d links attested after healing", after)
	}
}

// A fault that heals badly is seen: the probes feel the cut that is declared gone.
func TestHealThatDidNotHappen(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	lying := around(w)
	g := NewGuard(lying, rec, Options{Patience: 50 * time.Millisecond})
	link, _ := w.Link(id("tokyo", "osaka", topology.ServiceMySQL))
	f := LinkFault{[]topology.LinkID{link.ID()}, topology.Fault{Kind: topology.Cut}}
	if _, err := g.Inject(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	link.SetFault(context.Background(), topology.Fault{Kind: topology.Cut}) // for real, behind the guard's back
	if err := g.Heal(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	g.Close()
	seen := false
	attests, _ := history.Marked[history.AttestData](read(), history.KindAttest)
	for _, a := range attests {
		if a.Data.When == After {
			seen = true
			if a.Data.Agrees || a.Data.New != "cut" || a.Data.Declared != "open" {
				t.Errorf("%+v", a.Data)
			}
		}
	}
	if !seen {
		t.Error("nothing was attested after healing")
	}
}

func TestLag(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{})
	lag := Lag{id("tokyo", "osaka", topology.ServiceMySQL), 120 * time.Millisecond}
	out, err := g.Inject(context.Background(), lag)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "during", out.Attest, 1)
	if a := out.Attest[0]; a.Declared != "slow" || a.Old != "open" || a.New != "open" || a.RTT.D() < 110*time.Millisecond {
		t.Errorf("%+v", a)
	}
	if out.Cut != 0 {
		t.Errorf("a lag cuts nothing: %+v", out.FaultData)
	}
	// A region is lost while the lag is on; taking the lag away must not open the link again, and taking the loss away must
	// bring back the lag's absence, not the lag.
	if _, err := g.Inject(context.Background(), Isolation{Site: "tokyo", From: "osaka"}); err != nil {
		t.Fatal(err)
	}
	if err := g.Heal(context.Background(), lag); err != nil {
		t.Fatal(err)
	}
	l, _ := w.Link(lag.Link)
	if x, _ := l.Layers(context.Background()); x.Fault.Kind != topology.Cut {
		t.Errorf("after the lag was healed: %+v", x)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if x, _ := l.Layers(context.Background()); x.Fault.Kind != topology.NoFault || x.Delay != time.Millisecond {
		t.Errorf("after everything was healed: %+v", x)
	}
	read()
}

func TestBlackHole(t *testing.T) {
	for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra} {
		t.Run(string(s), func(t *testing.T) {
			w := newWorld(t)
			rec, read := record(t)
			g := NewGuard(w, rec, Options{Patience: 60 * time.Millisecond})
			out, err := g.Inject(context.Background(), LinkFault{[]topology.LinkID{id("osaka", "tokyo", s)}, topology.Fault{Kind: topology.BlackHole}})
			if err != nil {
				t.Fatal(err)
			}
			agree(t, "during", out.Attest, 1)
			if a := out.Attest[0]; a.Declared != "cut" || a.Old != "cut" || a.New != "cut" {
				t.Errorf("%+v", a)
			}
			g.Close()
			read()
		})
	}
}

// The operators' access list is declared too: the world's healing does not undo it, and probes expect it.
func TestAccessListIsKept(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{})
	ctx := context.Background()
	f := Isolation{Site: "tokyo", From: "osaka"}
	if _, err := g.Inject(ctx, f); err != nil {
		t.Fatal(err)
	}
	denied := id("tokyo", "osaka", topology.ServiceCassandra)
	l, _ := w.Link(denied)
	l.SetAccess(ctx, topology.Deny)
	if err := g.Heal(ctx, f); err != nil {
		t.Fatal(err)
	}
	found, err := g.Attest(ctx, After)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "after", found, 12)
	for _, a := range found {
		if cut := strings.HasSuffix(a.Link, "/cassandra"); cut != (a.Declared == "cut") {
			t.Errorf("%+v", a)
		}
	}
	g.Close()
	read()
}

// A proxy whose target is dead accepts and closes at once. That is not open, and it says nothing of the link.
func TestDeadTarget(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	n, _ := w.Node("osaka-mysql-1")
	n.Kill(context.Background())
	g := NewGuard(w, rec, Options{})
	found, err := g.Attest(context.Background(), Before)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "before", found, 12) // each mysql link is felt through the other door
	f, _ := call(context.Background(), mysqlProtocol{}, w.links[0].doors[0].Address)
	if w.links[0].doors[0].Node != "osaka-mysql-1" || f != closed {
		t.Errorf("felt %v through the door of %s", f, w.links[0].doors[0].Node)
	}
	gateway, _ := w.Node("osaka-gateway-1")
	gateway.Kill(context.Background())
	found, err = g.Attest(context.Background(), Before)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "without the gateway", found, 10)
	g.Close()
	notes := 0
	for _, m := range read().Marks {
		if m.Kind == history.KindNote {
			notes++
		}
	}
	if notes != 2 {
		t.Errorf("%d links are noted as not attested, want 2", notes)
	}
}

func TestHalfAnInjectionIsHealed(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{KeepLost: false})
	l, _ := w.Link(id("tokyo", "osaka", topology.ServiceMySQL))
	l.(*fakeLink).broken = errors.New("proxy gone")
	out, err := g.Inject(context.Background(), RegionLoss{"tokyo"})
	if err == nil || !strings.Contains(err.Error(), "tokyo>osaka/mysql") {
		t.Fatalf("error %v", err)
	}
	if len(out.Targets) != 3 || out.Cut != 0 {
		t.Errorf("%+v", out.FaultData)
	}
	if slices.ContainsFunc(w.acts, func(s string) bool { return strings.HasPrefix(s, "kill") }) {
		t.Error("nodes were killed before all was cut")
	}
	l.(*fakeLink).broken = nil
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, l := range w.links {
		if l.layers.Fault.Kind != topology.NoFault {
			t.Errorf("%s keeps %q", l.id, l.layers.Fault.Kind)
		}
	}
	if _, err := g.Inject(context.Background(), RegionLoss{"tokyo"}); err == nil {
		t.Error("a closed guard injected")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	read()
}

func TestIllegalFaults(t *testing.T) {
	w := newWorld(t)
	rec, read := record(t)
	g := NewGuard(w, rec, Options{})
	for want, f := range map[string]Fault{
		`"tokio" is not a region`: RegionLoss{"tokio"},
		`"nagoya" is not`:         Isolation{Site: "tokyo", From: "nagoya"},
		`no link joins them`:      Isolation{Site: "tokyo", From: "tokyo"},
		`must be positive`:        Lag{id("tokyo", "osaka", topology.ServiceMySQL), 0},
		`no link`:                 Lag{id("tokyo", "osaka", topology.ServiceCQL), time.Second},
		`names 0 links`:           LinkFault{},
	} {
		if _, err := g.Inject(context.Background(), f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", f.Name(), err, want)
		}
	}
	if len(g.Active()) != 0 {
		t.Errorf("active %v", g.Active())
	}
	if err := g.Heal(context.Background(), RegionLoss{"tokyo"}); err != nil {
		t.Errorf("heal what is not injected: %v", err)
	}
	g.Close()
	read()
}

// The table of what counts as having felt a fault.
func TestJudge(t *testing.T) {
	ms := time.Millisecond
	open := expectation{declared: sawOpen, delay: 8 * ms}
	cut := expectation{declared: sawCut}
	hole := expectation{declared: sawCut, vanish: true}
	slow := expectation{declared: sawSlow, delay: 104 * ms, least: 100 * ms}
	for _, c := range []struct {
		name       string
		e          expectation
		old, fresh felt
		rtt        time.Duration
		running    bool
		agrees     bool
		made       bool
	}{
		{"open", open, answered, answered, 9 * ms, true, true, true},
		{"open, none held", open, nothing, answered, 9 * ms, true, true, true},
		{"open, old one closed", open, closed, answered, 9 * ms, true, false, true},
		{"open, still slow", open, answered, answered, 400 * ms, true, false, true},
		{"open, refused", open, nothing, refused, 0, true, false, true},
		{"open, accepted and closed", open, nothing, closed, 0, true, false, true},
		{"open, silent", open, nothing, silent, 0, true, false, true},
		{"open, target stopped", open, nothing, closed, 0, false, false, false},
		{"cut", cut, closed, refused, 0, true, true, true},
		{"cut, none held", cut, nothing, refused, 0, true, true, true},
		{"cut, target stopped", cut, nothing, refused, 0, false, true, true},
		{"cut, accepted and closed", cut, closed, closed, 0, true, true, true},
		{"cut, accepted and closed, target stopped", cut, nothing, closed, 0, false, true, false},
		{"cut, old one lives", cut, answered, refused, 0, true, false, true},
		{"cut, new one lives", cut, closed, answered, ms, true, false, true},
		{"cut, silent", cut, silent, silent, 0, true, false, true},
		{"black hole", hole, silent, silent, 0, true, true, true},
		{"black hole, answered", hole, silent, answered, ms, true, false, true},
		{"slow", slow, answered, answered, 101 * ms, true, true, true},
		{"slow, but quick", slow, answered, answered, 9 * ms, true, false, true},
		{"slow, refused", slow, answered, refused, 0, true, false, true},
	} {
		f := c.e.judge(c.old, c.rtt, c.fresh, c.rtt, c.running)
		if f.made != c.made || f.made && f.agrees != c.agrees {
			t.Errorf("%s: made %v agrees %v, want %v %v", c.name, f.made, f.agrees, c.made, c.agrees)
		}
	}
}
