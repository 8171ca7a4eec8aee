package workload

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/kirikae/kirikae/drill/history"
)

// HeaderExecuted is the platform's proof that a refused request did nothing: "none". Any other refusal leaves the outcome open.
const HeaderExecuted = "X-Executed"

// Classes of failures, as Operation.Error names them.
const (
	// Nothing was done: the outcome is fail.
	errRefused     = "refused"      // the connection was refused
	errUnreachable = "unreachable"  // no route
	errDialTimeout = "dial-timeout" // no connection in time
	errDial        = "dial"         // no connection, for another reason
	errDNS         = "dns"          // no address known
	errUnsent      = "unsent"       // a connection, but no byte of the request left on it
	errUnavailable = "unavailable"  // 503 with proof
	errConflict    = "conflict"     // 409 with proof: the key is known with another body
	errRejected    = "rejected"     // any other status with proof

	// It may have been done: the outcome is info.
	errTimeout   = "timeout"      // no answer in time
	errReset     = "reset"        // the connection was reset
	errEOF       = "eof"          // the connection was closed before the answer
	errBroken    = "broken"       // the answer could not be read to its end
	errStatus    = "status"       // a status other than 200, without proof
	errWrong     = "wrong-answer" // 200, but not the answer to this request
	errResent    = "resent"       // more than one request left for one record: the harness is not sane
	errCancelled = "cancelled"    // the load was stopped
	errOther     = "other"
)

// reply is what came back for one attempt.
type reply struct {
	wire   int // requests that left
	status int // 0: no answer
	none   bool
	body   []byte
	err    error // of the round trip, or of reading the answer's body
}

// want is what a good answer must echo.
type want struct {
	key    string // payment key; "" for a probe
	number int64  // probe: the value written
}

// classify is the table of outcomes. Fail needs proof that nothing happened; everything else that is not a right answer is info
// and stays possible: a payment wrongly called failed would hide a double charge.
func classify(r reply, w want) (history.Outcome, string) {
	switch {
	case r.wire > 1:
		return history.Info, errResent
	case r.wire == 0: // sealed: nothing left, and nothing will
		return history.Fail, unsentClass(r.err)
	case r.status == 0:
		return history.Info, lostClass(r.err)
	case r.none && r.status != http.StatusOK:
		return history.Fail, refusedClass(r.status)
	case r.status != http.StatusOK:
		return history.Info, errStatus
	case r.err != nil:
		return history.Info, errBroken
	case r.none || !right(r.body, w):
		return history.Info, errWrong
	}
	return history.OK, ""
}

// right says whether a 200's body answers what was asked.
func right(body []byte, w want) bool {
	if w.key == "" {
		var a struct {
			N *int64 `json:"n"`
		}
		return json.Unmarshal(body, &a) == nil && a.N != nil && *a.N == w.number
	}
	var a struct {
		Key   string `json:"key"`
		State string `json:"state"`
	}
	return json.Unmarshal(body, &a) == nil && a.Key == w.key && a.State == "DONE"
}

func refusedClass(status int) string {
	switch status {
	case http.StatusServiceUnavailable:
		return errUnavailable
	case http.StatusConflict:
		return errConflict
	}
	return errRejected
}

// errNoAddress wraps a failed look-up.
type errNoAddress struct{ err error }

func (e errNoAddress) Error() string { return e.err.Error() }
func (e errNoAddress) Unwrap() error { return e.err }

func unsentClass(err error) string {
	var noAddress errNoAddress
	var op *net.OpError
	switch {
	case errors.As(err, &noAddress):
		return errDNS
	case errors.Is(err, context.Canceled):
		return errCancelled
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errUnreachable
	case timedOut(err):
		return errDialTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return errDial
	}
	return errUnsent
}

func lostClass(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return errCancelled
	case timedOut(err):
		return errTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err != nil && err.Error() == "http: server closed idle connection":
		return errEOF
	}
	return errOther
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
