// Package tell says to people what happens while something takes long: each line with the time since it began, and of a step that
// goes on a line every few seconds.
package tell

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// beat is how long a step may stay silent.
const beat = 10 * time.Second

// Teller serves several steps at once. One without a log says nothing.
type Teller struct {
	mu    sync.Mutex
	begin time.Time
	log   func(string)
}

// New makes a Teller that begins now. log gets whole lines, one at a time; nil: nobody listens.
func New(log func(string)) *Teller { return &Teller{begin: time.Now(), log: log} }

// Say writes one line.
func (t *Teller) Say(format string, args ...any) {
	t.Plain(fmt.Sprintf("%5.1f s  %s", time.Since(t.begin).Seconds(), fmt.Sprintf(format, args...)))
}

// Plain writes one line that has its own time already.
func (t *Teller) Plain(line string) {
	if t.log == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log(line)
}

// Step says that a step begins, runs it, and says every few seconds that it still runs; last tells the newest thing known about it,
// or "".
func (t *Teller) Step(what string, last func() string, do func() error) error {
	t.Say("%s", what)
	return t.During(what, last, do)
}

// During is Step for one whose beginning is not worth a line.
func (t *Teller) During(what string, last func() string, do func() error) error {
	begin := time.Now()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				line := fmt.Sprintf("%s … %.0f s", what, time.Since(begin).Seconds())
				if l := strings.TrimSpace(last()); l != "" {
					line += ": " + l
				}
				t.Say("%s", line)
			}
		}
	}()
	err := do()
	close(stop)
	<-stopped
	return err
}
