package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"
)

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
