package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// beat is how long a step may stay silent.
const beat = 10 * time.Second

// progress says what happens, with the time since it began. It serves several steps at once.
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

// plain writes one line that has its own time already.
func (p *progress) plain(line string) {
	if p.log == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log(line)
}

// step says that a step begins, runs it, and says every few seconds that it still runs; last tells the newest thing known about
// it, or "".
func (p *progress) step(what string, last func() string, do func() error) error {
	p.say("%s", what)
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
	err := do()
	close(stop)
	<-stopped
	return err
}

// latest is the newest line of something that runs.
type latest struct {
	mu   sync.Mutex
	line string
}

func (l *latest) set(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = line
}

func (l *latest) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}

// drain reads what the engine says while it pulls, imports or builds, to its end. What it reports as an error is one.
func drain(body io.ReadCloser, at *latest) error {
	defer body.Close()
	d := json.NewDecoder(body)
	for {
		var m jsonstream.Message
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != nil {
			return errors.New(oneLine(m.Error))
		}
		at.set(strings.TrimSpace(m.ID + " " + m.Status + m.Stream))
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
