package runbook

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// approvable refuses, before anything is changed, a step that nobody could approve: an operator without a key cannot be told
// from an approver, and nobody approves what he asked for himself.
func (e *engine) approvable(t task) error {
	if t.Approval == 0 {
		return nil
	}
	if len(e.o.Key) != ed25519.PublicKeySize {
		return errors.New("it needs an approval by another person, and the operator has shown no key to be told from that person")
	}
	for name, key := range e.o.Approvers {
		if e.selfish(name, key) == nil {
			return nil
		}
	}
	return fmt.Errorf("it needs an approval, and of %d approvers nobody is another person than the operator %s", len(e.o.Approvers), e.o.Who)
}

// selfish says whether an approver is one of those who have operated this run, by name or by key.
func (e *engine) selfish(name string, key ed25519.PublicKey) error {
	type person struct{ who, key string }
	people := []person{{e.o.Who, encodeKey(e.o.Key)}}
	for _, b := range e.past.entries {
		if b.Kind == history.EntryBegin {
			people = append(people, person{b.Who, b.Key})
		}
	}
	for _, p := range people {
		if p.who == name || p.key == encodeKey(key) {
			return fmt.Errorf("%s operates this run, and nobody approves what he asks for himself", name)
		}
	}
	return nil
}

// approved is the approval under which a step may act now; nil: none. One by somebody who has come to operate this run since counts no
// more: he would act on his own word.
func (e *engine) approved(t task) *history.Approval {
	return e.past.approval(t.Path, e.o.Clock.Now(), func(a history.Approval) bool { return e.selfish(a.By, e.o.Approvers[a.By]) == nil })
}

// approvables refuses, before anything is changed, an operator who goes on with a run some of whose steps are still to be approved,
// and whom nobody could be told from: a fresh run finds that out in its preflight.
func (e *engine) approvables() error {
	for _, t := range forward(e.rb) {
		if _, skipped := e.past.skipped(t); skipped || e.past.did(t.Path, history.EntryConfirm, history.EntryAlready) {
			continue
		}
		if err := e.approvable(t); err != nil {
			return fmt.Errorf("%w %s, nothing was changed: %s (%s): %w", ErrPreflight, e.rb.Name, t, t.Title, err)
		}
	}
	return nil
}

// valid says why an approval cannot be accepted, or nil.
func (e *engine) valid(a history.Approval) error {
	if a.Digest != e.digest {
		return fmt.Errorf("it is for the plan %.12s, and this is %.12s", a.Digest, e.digest)
	}
	if a.Run != e.past.name() {
		return fmt.Errorf("it is for the run %s, and this is %s", a.Run, e.past.name())
	}
	key, listed := e.o.Approvers[a.By]
	if !listed {
		return fmt.Errorf("%s is not among the approvers", a.By)
	}
	if !a.SignedBy(key) {
		return fmt.Errorf("the signature is not that of %s", a.By)
	}
	if err := e.selfish(a.By, key); err != nil {
		return err
	}
	if boot := history.BootID(); a.Boot != boot {
		return errors.New("it was signed before this machine was started")
	}
	if now := e.o.Clock.Now(); a.Expires <= now {
		return fmt.Errorf("it expired %v ago", now.Sub(a.Expires).Round(time.Millisecond))
	}
	for _, old := range e.j.entries {
		if old.Kind == history.EntryApproved && old.Approval != nil && bytes.Equal(old.Approval.Signature, a.Signature) {
			return errors.New("it was presented before")
		}
	}
	return nil
}

// approval waits until the step is approved.
func (e *engine) approval(told context.Context, t task) error {
	ctx, cancel := context.WithTimeoutCause(told, t.Approval, fmt.Errorf("the wait of %v for an approval ended", t.Approval))
	defer cancel()
	return e.wait(ctx, t, func() (bool, error) {
		if err := e.requests(&t); err != nil {
			return false, err
		}
		return e.approved(t) != nil, nil
	}, func() error {
		for i := len(e.past.entries) - 1; i >= 0; i-- {
			switch x := e.past.entries[i]; {
			case x.Kind == history.EntryRejected && x.Step == t.Path:
				return errors.New(x.Error)
			case x.Kind == history.EntryAsk:
				return errors.New("nobody has approved it")
			}
		}
		return errors.New("nobody has approved it")
	})
}

func encodeKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

func encodeKeys(keys map[string]ed25519.PublicKey) map[string]string {
	out := map[string]string{}
	for name, key := range keys {
		out[name] = encodeKey(key)
	}
	return out
}
