package steps

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress prints a line per state change with the time since it was made, and a heartbeat while something long goes on.
// It is safe for concurrent use. A nil Progress is silent.
type Progress struct {
	mu    *sync.Mutex
	out   io.Writer
	began time.Time
	of    string // what every line begins with
}

// NewProgress prints to out.
func NewProgress(out io.Writer) *Progress {
	return &Progress{mu: new(sync.Mutex), out: out, began: time.Now()}
}

// Of is the same, with a word before every line that says whose it is: two drills may have something to say.
func (p *Progress) Of(whose string) *Progress {
	if p == nil {
		return nil
	}
	of := *p
	of.of = fmt.Sprintf("%-6s ", whose)
	return &of
}

// Say prints one line: who, and what changed.
func (p *Progress) Say(who, format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%s%7.1f s  %-10s %s\n", p.of, time.Since(p.began).Seconds(), who, fmt.Sprintf(format, args...))
}

// Beat prints a heartbeat every few seconds until the returned function is called: a long wait is seen to be one.
func (p *Progress) Beat(who string, what func() string) (stop func()) {
	if p == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.Say(who, "… %s", what())
			}
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(done); <-ended }) }
}
