package runbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// Request is what a person asks of an operator who is at work. The journal is the operator's alone; a request is a file beside
// it, and the operator journals what came of it, once.
type Request struct {
	Name     string            `json:"-"`    // of the request itself: each is answered once
	Kind     string            `json:"kind"` // history.EntryPause, EntryContinue or EntryApproved
	Run      string            `json:"run"`  // run that it is for
	Who      string            `json:"who"`
	Why      string            `json:"why,omitempty"`
	Approval *history.Approval `json:"approval,omitempty"`
	Err      error             `json:"-"` // it could not be read
}

// Inbox is where requests arrive.
type Inbox interface {
	// Requests returns every request that has ever arrived, oldest first.
	Requests() ([]Request, error)
}

// RequestsFolder is the folder of a run folder in which requests arrive.
const RequestsFolder = "requests"

// FolderInbox is the inbox of a run folder.
type FolderInbox struct {
	Folder string // run folder
	Clock  history.Clock
}

// Requests implements Inbox.
func (f FolderInbox) Requests() ([]Request, error) {
	names, err := os.ReadDir(filepath.Join(f.Folder, RequestsFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read requests: %w", err)
	}
	var out []Request
	for _, n := range names { // in order of their names, which begin with their instants
		if n.IsDir() || !strings.HasSuffix(n.Name(), ".json") {
			continue
		}
		r := Request{Name: n.Name()}
		b, err := os.ReadFile(filepath.Join(f.Folder, RequestsFolder, n.Name()))
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			r = Request{Err: fmt.Errorf("it cannot be read: %w", err)}
		}
		r.Name = n.Name()
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Request) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Send puts a request into the folder, whole or not at all, and returns its name.
func (f FolderInbox) Send(r Request) (string, error) {
	clock := f.Clock
	if clock == nil {
		clock = history.Monotonic{}
	}
	name := fmt.Sprintf("%020d-%d-%s.json", int64(clock.Now()), os.Getpid(), r.Kind)
	if err := history.WriteJSON(filepath.Join(f.Folder, RequestsFolder, name), r); err != nil {
		return "", fmt.Errorf("send request: %w", err)
	}
	return name, nil
}
