// Package runbook carries out operators' procedures, one step at a time, so that the operator may die at any moment and
// another may go on. It knows no database: a step is an Action, and what the action touches is its own business.
//
// A step is check, act, confirm: one act that changes something, one read that proves it, both bounded by the step's budget
// (article 002: one lower state machine holds one updating operation and one reading operation). Acting twice is harmless, so
// that resuming needs no cleverness: confirm first, act only where the confirm does not hold yet.
//
// The journal is the only memory. It is one append-only file, locked by the operator that is at work; every line is on disk
// before what it announces is done.
package runbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Seen is what a check, an act or a confirm saw. It is journalled as JSON, so its values are what JSON has.
type Seen = map[string]any

// Action is what a step does. Each method is bounded by its context.
type Action interface {
	// Check reads whether the step could be carried out here at all: its nodes exist, its servers answer, its inputs fit. It
	// changes nothing, and it holds before as well as after the act, so that all checks of a runbook can be read before its
	// first act. What must hold only at the moment of the act is refused by Act itself, before it changes anything.
	Check(ctx context.Context) (Seen, error)
	// Act changes the world. It may be called again after it succeeded, failed or was killed half-way, and must then do what
	// is left. Evidence that the act itself destroys goes into notes first.
	Act(ctx context.Context, notes Notes) (Seen, error)
	// Confirm reads whether the state that the step is for holds now. Nil: it holds. The error says what is missing.
	// It proves the state, not its absence: a server that is down is no server that refuses writes.
	Confirm(ctx context.Context, notes Notes) (Seen, error)
}

// Writer is an optional ability of an Action: it names what its act sets ("osaka/params/cluster.form"). A confirmed step is not
// read or done again once a later step of the runbook was begun that sets the same thing: what it made was replaced on purpose.
type Writer interface {
	Writes() []string
}

// Notes is what an action may know of the journal: its own step, in this run of the runbook, over all operators that tried it.
type Notes interface {
	// Run names this run of the runbook. It stays the same when the run is resumed, and no other run has it.
	Run() string
	// All returns every value that this step journalled under a key, oldest first, as JSON decodes it.
	All(key string) []any
	// Note journals what a running act saw, on disk before it returns. Confirm must not call it.
	Note(saw Seen) error
}

// Title of a procedure or a step, as the procedure's own table has it, and in English.
type Title struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

// String is both, Japanese first.
func (t Title) String() string {
	if t.JA == "" || t.EN == "" {
		return t.JA + t.EN
	}
	return t.JA + " / " + t.EN
}

// Call is a row of a procedure that calls another procedure.
type Call struct {
	Path     string // "4"
	Title    Title
	Resource string
	File     string // what it calls, as the caller wrote it
}

// Step is one step of a runbook.
type Step struct {
	Path     string // numbers from the outermost procedure inwards: "4", or "4.1" inside a called one
	Title    Title
	Resource string
	Verb     string
	Inputs   map[string]any
	Budget   time.Duration // for check, act and confirm together; for a manual step also the wait for the person
	Manual   bool          // a person acts; the operator waits until the confirm holds
	Under    []Call        // the rows that led here, outermost first
	Action   Action
}

// Runbook is a procedure bound to its inputs: a value that can be printed, compared and carried out.
type Runbook struct {
	Name   string
	Title  Title
	Inputs map[string]any
	Steps  []Step // called procedures flattened
}

// Digest is the sha256 of the bound plan in hex: name, inputs and, of every step, all that Plan shows. A run may only be
// resumed with the plan that it was begun with.
func (r Runbook) Digest() string {
	type step struct {
		Path     string         `json:"path"`
		Title    Title          `json:"title"`
		Resource string         `json:"resource"`
		Verb     string         `json:"verb"`
		Inputs   map[string]any `json:"inputs"`
		Budget   string         `json:"budget"`
		Manual   bool           `json:"manual"`
	}
	plan := struct {
		Name   string         `json:"name"`
		Title  Title          `json:"title"`
		Inputs map[string]any `json:"inputs"`
		Steps  []step         `json:"steps"`
	}{r.Name, r.Title, r.Inputs, nil}
	for _, s := range r.Steps {
		plan.Steps = append(plan.Steps, step{s.Path, s.Title, s.Resource, s.Verb, s.Inputs, s.Budget.String(), s.Manual})
	}
	b, err := json.Marshal(plan) // maps are written in order of their keys
	if err != nil {
		b = fmt.Appendf(nil, "%#v", plan) // inputs that JSON has not; validate refuses them before a run
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// validate refuses a runbook that could not be carried out or resumed.
func (r Runbook) validate() error {
	if len(r.Steps) == 0 {
		return fmt.Errorf("runbook %s has no step", r.Name)
	}
	seen := map[string]bool{}
	for _, s := range r.Steps {
		_, unwritable := json.Marshal(s.Inputs)
		switch {
		case s.Path == "":
			return fmt.Errorf("runbook %s: a step without a number", r.Name)
		case seen[s.Path]:
			return fmt.Errorf("runbook %s: two steps %s", r.Name, s.Path)
		case s.Action == nil:
			return fmt.Errorf("runbook %s: step %s has no action", r.Name, s.Path)
		case s.Budget <= 0:
			return fmt.Errorf("runbook %s: step %s has no time budget", r.Name, s.Path)
		case unwritable != nil:
			return fmt.Errorf("runbook %s: inputs of step %s: %w", r.Name, s.Path, unwritable)
		}
		seen[s.Path] = true
	}
	return nil
}

// Errors that callers tell apart. None of them changed anything but the journal.
var (
	ErrHeld        = errors.New("another operator holds the journal")
	ErrOtherPlan   = errors.New("the journal holds an unfinished run of another plan")
	ErrPreflight   = errors.New("preflight refused")
	ErrJournalLost = errors.New("the journal is no longer this operator's")
)

// StepError is a step that failed. Steps before it are confirmed, steps after it were not begun.
type StepError struct {
	Runbook string
	Step    Step
	Resume  string // how to go on
	Err     error
}

// Error names the step, the cause and how to go on.
func (e *StepError) Error() string {
	return fmt.Sprintf("%s: step %s (%s): %v; no later step was begun; to resume: %s", e.Runbook, e.Step.Path, e.Step.Title, e.Err, e.Resume)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }
