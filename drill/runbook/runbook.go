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
	"slices"
	"strings"
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

// Foreteller is an optional ability of an Action: it reads the world and says what Act would do now, for a dry run.
type Foreteller interface {
	Would(ctx context.Context) (string, error)
}

// Onlooker is an optional ability of an Action whose Confirm does more than read (a synthetic payment proves that customers can
// pay). Look is as much of it as can be had by reading.
type Onlooker interface {
	Look(ctx context.Context, notes Notes) (Seen, error)
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

// Keeper is an optional ability of Notes: it keeps what is too long for the journal.
type Keeper interface {
	// Keep writes b into a file of the run folder that belongs to this step and attempt, and returns its path inside the folder.
	Keep(name string, b []byte) (string, error)
}

// Approved is an optional ability of Notes: who approved the step that is being carried out; "": nobody.
type Approved interface {
	ApprovedBy() string
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
	Check    *Read         // what the procedure reads before the act, beside the verb's own check
	Confirm  *Read         // what the procedure reads after the act, beside the verb's own confirm
	Budget   time.Duration // for check, act and confirm together; for a manual step also the wait for the person
	Manual   bool          // a person acts; the operator waits until the confirm holds
	Approval time.Duration // how long the step waits for another person's approval before it acts; 0: it needs none
	Commits  bool          // the point of commitment: once this step is announced, the run goes only forward
	Undo     *Undo         // how the step is taken back; only in a Planned runbook, before the point of commitment
	Under    []Call        // the rows that led here, outermost first
	Action   Action
}

// Read is a read that a procedure itself names. The step's Action carries it out; this is what is printed and digested.
type Read struct {
	Verb   string         `json:"verb"`
	Inputs map[string]any `json:"inputs"`
}

// Undo takes a step back. It is a step of its own, with check, act and confirm, that is carried out when the run is aborted.
type Undo struct {
	Nothing bool // the step leaves nothing that would have to be taken back, as its procedure says
	Verb    string
	Inputs  map[string]any
	Check   *Read
	Confirm *Read
	Budget  time.Duration
	Manual  bool
	Action  Action
}

// Kind of a runbook.
type Kind string

// Planned is the kind of a switchover that is made while both sides are healthy. It has one step that commits; until then a
// failure takes everything back, in reverse. Any other runbook only goes forward.
const Planned Kind = "planned switchover"

// Runbook is a procedure bound to its inputs: a value that can be printed, compared and carried out.
type Runbook struct {
	Name   string
	Title  Title
	Kind   Kind
	Inputs map[string]any
	Steps  []Step // called procedures flattened
}

// Digest is the sha256 of the bound plan in hex: name, kind, inputs and, of every step, all that Plan shows. A run may only be
// resumed with the plan that it was begun with.
func (r Runbook) Digest() string {
	type undo struct {
		Nothing bool           `json:"nothing,omitempty"`
		Verb    string         `json:"verb,omitempty"`
		Inputs  map[string]any `json:"inputs,omitempty"`
		Check   *Read          `json:"check,omitempty"`
		Confirm *Read          `json:"confirm,omitempty"`
		Budget  string         `json:"budget,omitempty"`
		Manual  bool           `json:"manual,omitempty"`
	}
	type step struct {
		Path     string         `json:"path"`
		Title    Title          `json:"title"`
		Resource string         `json:"resource"`
		Verb     string         `json:"verb"`
		Inputs   map[string]any `json:"inputs"`
		Budget   string         `json:"budget"`
		Manual   bool           `json:"manual"`
		Check    *Read          `json:"check,omitempty"` // what follows is left out where it is not used: older plans keep their digest
		Confirm  *Read          `json:"confirm,omitempty"`
		Approval string         `json:"approval,omitempty"`
		Commits  bool           `json:"commits,omitempty"`
		Undo     *undo          `json:"undo,omitempty"`
	}
	plan := struct {
		Name   string         `json:"name"`
		Title  Title          `json:"title"`
		Inputs map[string]any `json:"inputs"`
		Steps  []step         `json:"steps"`
		Kind   Kind           `json:"kind,omitempty"`
	}{r.Name, r.Title, r.Inputs, nil, r.Kind}
	for _, s := range r.Steps {
		x := step{Path: s.Path, Title: s.Title, Resource: s.Resource, Verb: s.Verb, Inputs: s.Inputs, Budget: s.Budget.String(), Manual: s.Manual,
			Check: s.Check, Confirm: s.Confirm, Commits: s.Commits}
		if s.Approval > 0 {
			x.Approval = s.Approval.String()
		}
		if u := s.Undo; u != nil {
			x.Undo = &undo{u.Nothing, u.Verb, u.Inputs, u.Check, u.Confirm, u.Budget.String(), u.Manual}
		}
		plan.Steps = append(plan.Steps, x)
	}
	b, err := json.Marshal(plan) // maps are written in order of their keys
	if err != nil {
		b = fmt.Appendf(nil, "%#v", plan) // inputs that JSON has not; validate refuses them before a run
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Validate refuses a runbook that could not be carried out, resumed or taken back.
// Every error is a *FaultError.
func (r Runbook) Validate() error {
	fault := func(step, format string, a ...any) error {
		return &FaultError{r.Name, step, fmt.Sprintf(format, a...)}
	}
	if len(r.Steps) == 0 {
		return fault("", "it has no step")
	}
	seen := map[string]bool{}
	commits := ""
	for _, s := range r.Steps {
		_, unwritable := json.Marshal([]any{s.Inputs, s.Check, s.Confirm})
		switch {
		case s.Path == "":
			return fault("", "a step without a number")
		case seen[s.Path]:
			return fault(s.Path, "two steps %s", s.Path)
		case s.Action == nil:
			return fault(s.Path, "step %s has no action", s.Path)
		case s.Budget <= 0:
			return fault(s.Path, "step %s has no time budget", s.Path)
		case unwritable != nil:
			return fault(s.Path, "inputs of step %s: %v", s.Path, unwritable)
		case s.Approval < 0:
			return fault(s.Path, "step %s waits %v for an approval", s.Path, s.Approval)
		case s.Commits && commits != "":
			return fault(s.Path, "steps %s and %s both commit, expected one point of commitment", commits, s.Path)
		case s.Undo != nil && r.Kind != Planned:
			return fault(s.Path, "step %s has an undo: only a %s is taken back, anything else goes only forward", s.Path, Planned)
		case s.Undo != nil && (s.Commits || commits != ""):
			return fault(s.Path, "step %s has an undo, and from the point of commitment on the run goes only forward", s.Path)
		case s.Undo == nil && r.Kind == Planned && !s.Commits && commits == "":
			return fault(s.Path, "step %s stands before the point of commitment and does not say how it is undone", s.Path)
		}
		if u := s.Undo; u != nil && !u.Nothing {
			_, unwritable := json.Marshal([]any{u.Inputs, u.Check, u.Confirm})
			switch {
			case u.Action == nil:
				return fault(s.Path, "undo of step %s has no action", s.Path)
			case u.Budget <= 0:
				return fault(s.Path, "undo of step %s has no time budget", s.Path)
			case unwritable != nil:
				return fault(s.Path, "inputs of the undo of step %s: %v", s.Path, unwritable)
			}
		}
		if s.Commits {
			commits = s.Path
		}
		seen[s.Path] = true
	}
	if r.Kind == Planned && commits == "" {
		return fault("", "a %s has one step that commits, and this one has none", Planned)
	}
	return nil
}

// FaultError is why a runbook cannot be carried out.
type FaultError struct {
	Runbook string
	Step    string // "" for the runbook as a whole
	Says    string
}

// Error names the runbook and what is wrong with it.
func (e *FaultError) Error() string { return "runbook " + e.Runbook + ": " + e.Says }

// step finds a step by its number.
func (r Runbook) step(path string) (Step, bool) {
	for _, s := range r.Steps {
		if s.Path == path {
			return s, true
		}
	}
	return Step{}, false
}

// approves says whether any step needs an approval.
func (r Runbook) approves() bool {
	return slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Approval > 0 })
}

func (r Runbook) paths() string {
	var out []string
	for _, s := range r.Steps {
		out = append(out, s.Path)
	}
	return strings.Join(out, ", ")
}

// Errors that callers tell apart. None of them changed anything but the journal.
var (
	ErrHeld        = errors.New("another operator holds the journal")
	ErrOtherPlan   = errors.New("the journal holds an unfinished run of another plan")
	ErrPreflight   = errors.New("preflight refused")
	ErrJournalLost = errors.New("the journal is no longer this operator's")
	ErrCannot      = errors.New("that cannot be asked of this run") // skip, retry, abort or take-over; nothing was written
)

// AbortedError says that the run was taken back: every step that had been begun is undone, and each undo was confirmed.
type AbortedError struct {
	Runbook string
	Why     string // what failed, or what the person said
	Asked   bool   // a person asked for it; no step failed
}

// Error says what led to it, and that everything is as it was.
func (e *AbortedError) Error() string {
	return fmt.Sprintf("%s was aborted before its point of commitment, everything is as it was: %s", e.Runbook, e.Why)
}

// StepError is a step that failed. Steps before it are confirmed, steps after it were not begun.
type StepError struct {
	Runbook string
	Step    Step
	Undo    bool   // it was being taken back
	Resume  string // how to go on
	Err     error
}

// Error names the step, the cause and how to go on.
func (e *StepError) Error() string {
	if e.Undo {
		return fmt.Sprintf("%s: undo of step %s (%s): %v; earlier steps are not taken back yet; to resume: %s", e.Runbook, e.Step.Path, e.Step.Title, e.Err, e.Resume)
	}
	return fmt.Sprintf("%s: step %s (%s): %v; no later step was begun; to resume: %s", e.Runbook, e.Step.Path, e.Step.Title, e.Err, e.Resume)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }
