package provision

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// beat is how long a step may stay silent.
const beat = 10 * time.Second

// progress says what happens, with the time since provisioning began. It serves several steps at once.
type progress struct {
	mu    sync.Mutex
	begin time.Time
	log   func(string)
}

func newProgress(log func(string)) *progress { return &progress{begin: time.Now(), log: log} }

// say writes one line.
func (p *progress) say(format string, args ...any) {
	if p.log == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log(fmt.Sprintf("%5.1f s  %s", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...)))
}

// step says that a step begins, runs it and says every few seconds that it still runs.
func (p *progress) step(what string, last func() string, do func() error) error {
	p.say("%s", what)
	return p.during(what, last, do)
}

// during runs a step and says every few seconds that it still runs; last tells the newest thing known about it, or "".
func (p *progress) during(what string, last func() string, step func() error) error {
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
				p.say("%s", line)
			}
		}
	}()
	err := step()
	close(stop)
	<-stopped
	return err
}
