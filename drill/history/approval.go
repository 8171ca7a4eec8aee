package history

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
)

// Approval is one person's signed consent to one step of one run of one plan, for a time.
type Approval struct {
	Digest    string  `json:"digest"` // of the bound plan
	Run       string  `json:"run"`    // name of the run of that plan
	Step      string  `json:"step"`
	By        string  `json:"by"`      // who approves, as the list of approvers names the person
	Boot      string  `json:"boot"`    // boot that Expires is an instant of
	Expires   Instant `json:"expires"` // it consents to no act that is announced later
	Signature []byte  `json:"signature"`
}

// Message is what is signed: everything but the signature.
func (a Approval) Message() []byte {
	a.Signature = nil
	b, err := json.Marshal(a)
	if err != nil {
		panic("history: an approval cannot be written as JSON: " + err.Error()) // it holds texts and a number
	}
	return append([]byte("kirikae approval 1\n"), b...)
}

// Sign signs an approval.
func (a *Approval) Sign(key ed25519.PrivateKey) { a.Signature = ed25519.Sign(key, a.Message()) }

// SignedBy says whether the holder of a key signed it as it is.
func (a Approval) SignedBy(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, a.Message(), a.Signature)
}

// UndoPrefix stands before the kind of an entry that tells of taking a step back: "undo-intent", "undo-confirm".
const UndoPrefix = "undo-"

// Undoes says whether an entry tells of taking a step back, and its kind without the prefix.
func (e Entry) Undoes() (kind string, undo bool) { return strings.CutPrefix(e.Kind, UndoPrefix) }
