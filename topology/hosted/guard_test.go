package hosted

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

func guarded(t *testing.T, parallel int) (*fake, *guard, context.CancelFunc) {
	p := plan.Layout(twoRegion(t), 9, plan.Loopback, false)
	f := newFake(Ground{File: File{Plan: p}})
	life, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	return f, newGuard(life, f, p.Nodes, parallel), end
}

// TestGuardStates: which operation reaches the runtime in which state, and what is said otherwise.
func TestGuardStates(t *testing.T) {
	f, g, _ := guarded(t, 0)
	n := f.ground.File.Plan.Of("tokyo", topology.MySQL)[0]
	ops := map[string]func(context.Context, plan.Node) error{
		"start": func(ctx context.Context, n plan.Node) error { return g.Start(ctx, n, false) },
		"stop":  g.Stop, "kill": g.Kill, "pause": g.Pause, "resume": g.Resume, "wipe": g.Wipe,
	}
	for _, c := range []struct {
		is      topology.State
		verb    string
		reaches bool
		bad     string
	}{
		{topology.Stopped, "start", true, ""},
		{topology.Running, "start", false, ""},
		{topology.Paused, "start", false, ""},
		{topology.Stopped, "stop", false, ""},
		{topology.Running, "stop", true, ""},
		{topology.Paused, "stop", true, ""},
		{topology.Stopped, "kill", false, ""},
		{topology.Running, "kill", true, ""},
		{topology.Paused, "kill", true, ""},
		{topology.Stopped, "pause", false, "pause tokyo-mysql-1: it does not run"},
		{topology.Running, "pause", true, ""},
		{topology.Paused, "pause", false, ""},
		{topology.Stopped, "resume", false, "resume tokyo-mysql-1: it does not run"},
		{topology.Running, "resume", false, ""},
		{topology.Paused, "resume", true, ""},
		{topology.Stopped, "wipe", true, ""},
		{topology.Running, "wipe", false, "wipe tokyo-mysql-1: it is running, stop it first"},
		{topology.Paused, "wipe", false, "wipe tokyo-mysql-1: it is paused, stop it first"},
	} {
		f.mu.Lock()
		f.state[n.Name], f.ended[n.Name], f.calls = c.is, make(chan struct{}), nil
		f.mu.Unlock()
		err := ops[c.verb](t.Context(), n)
		if (err == nil) != (c.bad == "") || err != nil && err.Error() != c.bad {
			t.Errorf("%s while %s: %v", c.verb, c.is, err)
		}
		if got := f.heard(c.verb+" "+n.Name) == 1; got != c.reaches {
			t.Errorf("%s while %s: the runtime heard %v", c.verb, c.is, f.calls)
		}
	}
	stranger := n
	stranger.Name = "nara-mysql-1"
	if err := g.Kill(t.Context(), stranger); err == nil || !strings.Contains(err.Error(), "no node") {
		t.Errorf("%v", err)
	}
}

// TestGuardTurns: one operation at a time at one node, whatever happens at others; a start is not cut short by its caller.
func TestGuardTurns(t *testing.T) {
	f, g, _ := guarded(t, 0)
	p := &f.ground.File.Plan
	n, other := p.Of("tokyo", topology.MySQL)[0], p.Of("osaka", topology.MySQL)[0]
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.starts = func(ctx context.Context, x plan.Node) error {
		if x.Name != n.Name {
			return nil
		}
		close(begun)
		<-goOn
		return ctx.Err()
	}
	caller, gone := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() { started <- g.Start(caller, n, false) }()
	<-begun
	gone()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Kill(ctx, n); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for another operation") {
		t.Errorf("killed while it starts: %v", err)
	}
	if err := g.Start(t.Context(), other, false); err != nil {
		t.Errorf("another node: %v", err)
	}
	close(goOn)
	if err := <-started; err != nil {
		t.Errorf("its caller went away: %v", err)
	}
	if err := g.Kill(t.Context(), n); err != nil || f.heard("kill "+n.Name) != 1 {
		t.Errorf("%v, %v", err, f.calls)
	}
}

// TestGuardParallel: so many starts at once, and no more.
func TestGuardParallel(t *testing.T) {
	f, g, _ := guarded(t, 2)
	var mu sync.Mutex
	var now, most int
	enough := make(chan struct{})
	f.starts = func(ctx context.Context, _ plan.Node) error {
		mu.Lock()
		now++
		most = max(most, now)
		if now == 2 && most == 2 {
			select {
			case <-enough:
			default:
				close(enough)
			}
		}
		mu.Unlock()
		<-enough
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}
	var wg sync.WaitGroup
	for _, n := range f.ground.File.Plan.Nodes {
		wg.Go(func() {
			if err := g.Start(t.Context(), n, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 2 {
		t.Errorf("%d at once", most)
	}
}

// TestGuardDown: with the world's end what is under way gives up, nothing comes after, and close waits for that.
func TestGuardDown(t *testing.T) {
	f, g, end := guarded(t, 0)
	n := f.ground.File.Plan.Of("tokyo", topology.MySQL)[0]
	begun := make(chan struct{})
	f.starts = func(ctx context.Context, _ plan.Node) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	started := make(chan error, 1)
	go func() { started <- g.Start(t.Context(), n, false) }()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.close(ctx); err == nil || !strings.Contains(err.Error(), "the operation on tokyo-mysql-1 to give up") {
		t.Errorf("closed while a node starts: %v", err)
	}
	end()
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := g.Start(t.Context(), n, false); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	if err := g.Kill(t.Context(), n); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	if s, err := g.State(t.Context(), n); err != nil || s != topology.Stopped {
		t.Errorf("%s, %v", s, err)
	}
}

// TestDownWhateverHappens: an operation that does not hear that the world goes down keeps nothing alive.
func TestDownWhateverHappens(t *testing.T) {
	w := newOwned(testHost(t), Spec{DownBudget: 300 * time.Millisecond}, func(string) {})
	f, g, _ := guarded(t, 0)
	g.life, w.machines, w.guard = w.life, f, g
	n := f.ground.File.Plan.Of("tokyo", topology.MySQL)[0]
	begun, release := make(chan struct{}), make(chan struct{})
	f.starts = func(context.Context, plan.Node) error {
		close(begun)
		<-release
		return nil
	}
	started := make(chan error, 1)
	go func() { started <- g.Start(t.Context(), n, false) }()
	<-begun
	err := w.down()
	if err == nil || !strings.Contains(err.Error(), "the operation on tokyo-mysql-1 to give up") || f.downs != 1 {
		t.Errorf("%v, the machines went down %d times", err, f.downs)
	}
	if again := w.down(); again != err {
		t.Errorf("again: %v", again)
	}
	close(release)
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// TestWatch: a wait ends with what it waits for, with its caller, or with the node that it needs.
func TestWatch(t *testing.T) {
	f, g, _ := guarded(t, 0)
	p := &f.ground.File.Plan
	nodes := p.Of("", topology.MySQL)
	for _, n := range nodes {
		if err := g.Start(t.Context(), n, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := Watch(t.Context(), f, nodes, func(context.Context) error { return nil }); err != nil {
		t.Errorf("a wait that succeeded: %v", err)
	}
	own := errors.New("its own error")
	if err := Watch(t.Context(), f, nodes, func(context.Context) error { return own }); err != own {
		t.Errorf("a wait that failed by itself: %v", err)
	}
	forever := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Watch(ctx, f, nodes, forever); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait whose caller went away: %v", err)
	}
	f.mu.Lock()
	for range 30 {
		f.log[nodes[1].Name] = append(f.log[nodes[1].Name], "early")
	}
	f.log[nodes[1].Name] = append(f.log[nodes[1].Name], strings.Fields(strings.Repeat("late ", lastLines))...)
	f.mu.Unlock()
	go f.die(nodes[1], "exit status 3")
	err := Watch(t.Context(), f, nodes, forever)
	if !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"osaka-mysql-1 died: exit status 3", "the end of its log", "late"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "early") {
		t.Errorf("the whole log was shown: %v", err)
	}
	if err := Watch(t.Context(), f, p.Of("", topology.Acquirer), forever); err == nil || !strings.Contains(err.Error(), "never started") {
		t.Errorf("a node that was never started: %v", err)
	}
}
