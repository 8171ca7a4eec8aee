package steps

import (
	"errors"
	"syscall"

	"github.com/kirikae/kirikae/topology"
)

// Exit codes of every command.
const (
	ExitPassed       = 0
	ExitFailed       = 1
	ExitUsage        = 2  // bad flag, file or feature: nothing was started
	ExitInconclusive = 3  // the drill cannot say
	ExitEnvironment  = 4  // engine, image, tool, port, disk; a node that was never ready
	ExitNothing      = 5  // no scenario was selected
	ExitHarness      = 70 // the harness is wrong
	ExitInterrupted  = 130
	ExitTerminated   = 143
)

// FailedError is a failure of what was asked for, not of the asking: a step that could not be confirmed (exit code 1).
type FailedError struct{ Err error }

func (e *FailedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// ExitOf is the exit code that goes with an error; 70 for one that nobody foresaw.
func ExitOf(err error) int {
	var usage *UsageError
	var failed *FailedError
	switch {
	case err == nil:
		return ExitPassed
	case errors.As(err, &failed):
		return ExitFailed
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, ErrNothingSelected):
		return ExitNothing
	case errors.Is(err, topology.ErrEnvironment), errors.Is(err, syscall.ENOSPC):
		return ExitEnvironment
	}
	return ExitHarness
}

// worse returns the exit code that wins when several scenarios ran: a harness that is wrong says nothing about the others,
// an interruption ends the run, then FAIL over environment over INCONCLUSIVE.
func worse(a, b int) int {
	order := []int{ExitPassed, ExitInconclusive, ExitNothing, ExitEnvironment, ExitFailed, ExitUsage, ExitTerminated, ExitInterrupted, ExitHarness}
	rank := func(code int) int {
		for i, c := range order {
			if c == code {
				return i
			}
		}
		return len(order)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
