package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
)

// aloneFile says inside a store's container whether it starts as topology.LoneStarter means it.
const aloneFile = "kirikae/alone"

// box is one container that is driven: started, ended, frozen. Its state is always read from the engine.
type box struct {
	client  *client.Client
	name    string   // the engine's
	node    string   // for people
	log     string   // file that takes its output
	store   bool     // it can be started alone
	volumes []string // to be removed with it
	// empty empties its volumes where they outlive it, in memory; nil: they are removed with it.
	empty func(ctx context.Context) error
	// remake makes the container again, not started.
	remake func(ctx context.Context) error

	made    chan struct{} // closed when it has been made, or could not be
	makeErr error         // read after made

	mu   sync.Mutex
	life *life // nil: not started from here
}

// life is one run of a container that was started from here.
type life struct {
	ended  chan struct{} // closed when it is over and its output is in the log
	reason string        // how; read after ended
	asked  string        // by what, when somebody ended it on purpose; guarded by box.mu
	stop   context.CancelFunc
}

// isMade ends the wait for the container.
func (b *box) isMade(err error) {
	b.makeErr = err
	close(b.made)
}

// await waits until it has been made.
func (b *box) await(ctx context.Context) error {
	select {
	case <-b.made:
		return b.makeErr
	case <-ctx.Done():
		return fmt.Errorf("wait until container %s is made: %w", b.node, context.Cause(ctx))
	}
}

// state is the engine's. What is still being made is stopped.
func (b *box) state(ctx context.Context) (topology.State, error) {
	select {
	case <-b.made:
		if b.makeErr != nil {
			return "", b.makeErr
		}
	default:
		return topology.Stopped, nil
	}
	i, err := b.client.ContainerInspect(ctx, b.name, client.ContainerInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("read the state of %s: %w", b.node, err)
	}
	switch s := i.Container.State; {
	case s == nil || !s.Running:
		return topology.Stopped, nil
	case s.Paused:
		return topology.Paused, nil
	}
	return topology.Running, nil
}

// start starts it if it does not run, and lets its output flow into the log. It returns when its process runs.
func (b *box) start(ctx context.Context, alone bool) error {
	if err := b.await(ctx); err != nil {
		return err
	}
	s, err := b.state(ctx)
	if err != nil || s != topology.Stopped {
		return err
	}
	if alone && !b.store {
		return fmt.Errorf("start %s alone: %w: only stores are", b.node, topology.ErrUnsupported)
	}
	if b.store {
		if err := b.setAlone(ctx, alone); err != nil {
			return fmt.Errorf("start %s: %w", b.node, err)
		}
	}
	return b.begin(ctx, container.WaitConditionNextExit, "started", func() error {
		_, err := b.client.ContainerStart(ctx, b.name, client.ContainerStartOptions{})
		return err
	})
}

// adopt lets the output of one that runs already flow into the log, from now on.
func (b *box) adopt(ctx context.Context) error {
	return b.begin(ctx, container.WaitConditionNotRunning, "taken over", func() error {
		s, err := b.state(ctx)
		if err == nil && s != topology.Running {
			err = fmt.Errorf("it is %s", s)
		}
		return err
	})
}

// begin begins to follow a life, which act gives it.
func (b *box) begin(ctx context.Context, over container.WaitCondition, what string, act func() error) error {
	// Both before it, so that not a line and not even the shortest life is missed.
	forever, stop := context.WithCancel(context.Background())
	l := &life{ended: make(chan struct{}), stop: stop}
	exit := b.client.ContainerWait(forever, b.name, client.ContainerWaitOptions{Condition: over})
	out, err := b.client.ContainerAttach(forever, b.name, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		stop()
		return fmt.Errorf("attach to %s: %w", b.node, err)
	}
	if err := act(); err != nil {
		stop()
		out.Close()
		return fmt.Errorf("begin with %s: %w", b.node, err)
	}
	b.note(what)
	b.mu.Lock()
	b.life = l
	b.mu.Unlock()
	go b.live(forever, l, exit, out.HijackedResponse)
	return nil
}

// outputBudget is how long the last of a dead container's output may take to arrive.
const outputBudget = 5 * time.Second

// live follows one life to its end.
func (b *box) live(ctx context.Context, l *life, exit client.ContainerWaitResult, out client.HijackedResponse) {
	defer close(l.ended)
	defer l.stop()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		b.follow(out.Reader)
	}()
	var code int64 = -1
	select {
	case r := <-exit.Result:
		code = r.StatusCode
	case err := <-exit.Error:
		l.reason = fmt.Sprintf("the engine says no more of it: %v", err)
	case <-ctx.Done():
		l.reason = "its world went down"
	}
	if ctx.Err() == nil {
		late := time.NewTimer(outputBudget)
		defer late.Stop()
		select {
		case <-copied:
		case <-late.C:
		case <-ctx.Done():
		}
	}
	out.Close() // ends the copying, if nothing else did
	<-copied
	if l.reason == "" {
		l.reason = b.how(ctx, code)
	}
	b.mu.Lock()
	asked := l.asked
	b.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case asked != "":
		b.note("ended as asked: " + asked + ", " + l.reason)
	default:
		b.note("ended by itself: " + l.reason)
	}
}

// how a container ended.
func (b *box) how(ctx context.Context, code int64) string {
	text := fmt.Sprintf("exit code %d", code)
	if code > 128 && code < 128+65 {
		text += fmt.Sprintf(" (signal %d)", code-128)
	}
	ctx, cancel := context.WithTimeout(ctx, outputBudget)
	defer cancel()
	i, err := b.client.ContainerInspect(ctx, b.name, client.ContainerInspectOptions{})
	if err != nil || i.Container.State == nil {
		return text
	}
	if i.Container.State.OOMKilled {
		text += ", out of memory"
	}
	if i.Container.State.Error != "" {
		text += ", " + i.Container.State.Error
	}
	return text
}

// follow copies output to the log until it ends.
func (b *box) follow(out io.Reader) {
	f, err := os.OpenFile(b.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil { // a full disk: nobody may wait for its output to be read
		_, _ = io.Copy(io.Discard, out)
		return
	}
	defer f.Close()
	if _, err := stdcopy.StdCopy(f, f, out); err != nil {
		_, _ = io.Copy(io.Discard, out) // ends with the connection
	}
}

// note adds a line of the world's own to the log.
func (b *box) note(what string) {
	f, err := os.OpenFile(b.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return // the log of a full disk: the state says the same
	}
	defer f.Close()
	fmt.Fprintf(f, "kirikae: %s %s: %s\n", time.Now().UTC().Format("15:04:05.000"), b.node, what)
}

func (b *box) setAlone(ctx context.Context, alone bool) error {
	in, err := tarred(aloneFile, fmt.Sprint(alone), 0o644)
	if err != nil {
		return err
	}
	if _, err := b.client.CopyToContainer(ctx, b.name, client.CopyToContainerOptions{DestinationPath: "/", Content: in}); err != nil {
		return fmt.Errorf("tell it whether it is alone: %w", err)
	}
	return nil
}

// stop ends it in an orderly way, within ctx. A paused one is thawed for it.
func (b *box) stop(ctx context.Context) error { return b.end(ctx, "stop", "SIGTERM") }

// kill ends it at once.
func (b *box) kill(ctx context.Context) error { return b.end(ctx, "kill", "SIGKILL") }

func (b *box) end(ctx context.Context, what, signal string) error {
	s, err := b.state(ctx)
	if err != nil || s == topology.Stopped {
		return err
	}
	l := b.expect(map[string]string{"SIGTERM": "stopped", "SIGKILL": "killed"}[signal])
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	exit := b.client.ContainerWait(waiting, b.name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	if _, err := b.client.ContainerKill(ctx, b.name, client.ContainerKillOptions{Signal: signal}); err != nil {
		if now, serr := b.state(ctx); serr == nil && now == topology.Stopped {
			err = nil // it ended meanwhile
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, b.node, err)
		}
	}
	if s == topology.Paused {
		// Engines thaw what they signal; should one not do so, this does.
		if now, err := b.state(ctx); err == nil && now == topology.Paused {
			_, _ = b.client.ContainerUnpause(ctx, b.name, client.ContainerUnpauseOptions{}) // it may just have been thawed
		}
	}
	select {
	case <-exit.Result:
	case err := <-exit.Error:
		return fmt.Errorf("%s %s: wait for its end: %w", what, b.node, err)
	case <-ctx.Done():
		return fmt.Errorf("%s %s: it has not ended: %w", what, b.node, context.Cause(ctx))
	}
	if l == nil {
		return nil
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: its output has not ended: %w", what, b.node, context.Cause(ctx))
	}
}

// expect says that somebody is about to end it on purpose. It returns the life that is meant, nil if none was begun from here.
func (b *box) expect(how string) *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.life != nil {
		b.life.asked = how
	}
	return b.life
}

// pause freezes it. A frozen one stays as it is.
func (b *box) pause(ctx context.Context) error {
	s, err := b.state(ctx)
	if err != nil || s == topology.Paused {
		return err
	}
	if _, err := b.client.ContainerPause(ctx, b.name, client.ContainerPauseOptions{}); err != nil {
		return fmt.Errorf("pause %s: %w", b.node, err)
	}
	return nil
}

// resume thaws it. One that runs stays as it is.
func (b *box) resume(ctx context.Context) error {
	s, err := b.state(ctx)
	if err != nil || s == topology.Running {
		return err
	}
	if _, err := b.client.ContainerUnpause(ctx, b.name, client.ContainerUnpauseOptions{}); err != nil {
		return fmt.Errorf("resume %s: %w", b.node, err)
	}
	return nil
}

// wipe replaces it by a new one without data, not started.
func (b *box) wipe(ctx context.Context) error {
	if err := b.await(ctx); err != nil {
		return err
	}
	s, err := b.state(ctx)
	if errdefs.IsNotFound(err) { // a wipe that was cut short
		s, err = topology.Stopped, nil
	}
	if err != nil {
		return err
	}
	if s != topology.Stopped {
		return fmt.Errorf("wipe %s: it is %s, stop it first", b.node, s)
	}
	if err := b.remove(ctx); err != nil {
		return fmt.Errorf("wipe %s: %w", b.node, err)
	}
	if err := b.remake(ctx); err != nil {
		return fmt.Errorf("wipe %s: %w", b.node, err)
	}
	return nil
}

// remove removes the container and what its volumes hold. What is not there is no error.
func (b *box) remove(ctx context.Context) error {
	if err := removeContainer(ctx, b.client, b.name); err != nil {
		return err
	}
	if b.empty != nil {
		return b.empty(ctx)
	}
	for _, v := range b.volumes {
		if err := removeVolume(ctx, b.client, v); err != nil {
			return err
		}
	}
	return nil
}

// release ends whatever follows the container, without touching it.
func (b *box) release() {
	b.mu.Lock()
	l := b.life
	b.mu.Unlock()
	if l != nil {
		l.stop()
		<-l.ended
	}
}

// over waits until the life that was last started from here has ended, and says how. One that there never was is over.
func (b *box) over(ctx context.Context) (how string, err error) {
	b.mu.Lock()
	l := b.life
	b.mu.Unlock()
	if l == nil {
		return "it was never started", nil
	}
	select {
	case <-l.ended:
		return l.reason, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// tailLimit bounds what is read of a log's end.
const tailLimit = 1 << 20

// tailFile returns the last n lines of a file.
func tailFile(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it never wrote
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(tailLimit, info.Size()))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return last(string(b), n), nil
}

// last are the last n lines of a text.
func last(text string, n int) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" || n <= 0 {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}
