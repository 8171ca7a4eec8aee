package check_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

func keyOf(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(b), ed25519.SeedSize)))
}

func publicOf(k ed25519.PrivateKey) string {
	return base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
}

// What persons decide is judged by how it was kept.
func TestDecisions(t *testing.T) {
	entries := func(change func(j []history.Entry) []history.Entry) func(*history.Run) {
		return func(r *history.Run) { r.Journal = change(r.Journal) }
	}
	index := func(j []history.Entry, kind, step string) int {
		i := slices.IndexFunc(j, func(e history.Entry) bool { return e.Kind == kind && e.Step == step })
		if i < 0 {
			panic(kind + " " + step)
		}
		return i
	}
	before := func(j []history.Entry, i int, kind, step, why string) history.Entry {
		e := j[i]
		e.Kind, e.Step, e.Why, e.Saw, e.Error = kind, step, why, nil, ""
		return e
	}
	// skipped passes step 3 over, or another operator does so after it failed.
	skipped := func(why string) func(*history.Run) {
		return entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryIntent, "3")
			skip := before(j, i, history.EntrySkip, "3", why)
			j = slices.DeleteFunc(j, func(e history.Entry) bool { return e.Step == "3" })
			return slices.Insert(j, i, skip)
		})
	}
	aiko, ben := keyOf('a'), keyOf('b')
	approved := func(change func(a *history.Approval), key ed25519.PrivateKey, kind string) func(*history.Run) {
		return entries(func(j []history.Entry) []history.Entry {
			j[0].Key, j[0].Approvers = publicOf(aiko), map[string]string{"Aiko": publicOf(aiko), "Ben": publicOf(ben)}
			i := index(j, history.EntryIntent, "3")
			a := history.Approval{Digest: j[0].Digest, Run: "r", Step: "3", By: "Ben", Boot: "b", Expires: j[i].T.Add(time.Minute)}
			change(&a)
			a.Sign(key)
			ask, ok := before(j, i, history.EntryAsk, "3", ""), before(j, i, kind, "3", "")
			ok.Approval = &a
			return slices.Insert(j, i, ask, ok)
		})
	}
	same := func(*history.Approval) {}
	paused := func(resumed bool) func(*history.Run) {
		return entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryIntent, "3")
			add := []history.Entry{before(j, i, history.EntryPause, "", "lunch")}
			if resumed {
				add = append(add, before(j, i, history.EntryContinue, "", ""))
			}
			return slices.Insert(j, i, add...)
		})
	}
	judgeTable(t, check.NameProcedure, check.Procedure, []bend{
		{"skipped", skipped("the store is broken, set by hand"), pass, "8 steps confirmed in order, 1 of them by a person; 1 skipped on purpose"},
		{"skipped for no reason", skipped(" "), fail, "step 3 was skipped and nobody said why"},
		{"failed, then skipped", entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryConfirm, "3")
			j[i].Kind, j[i].Error = history.EntryFailed, "no answer"
			begin := j[0]
			begin.Attempt, begin.T = 2, j[i].T
			return slices.Insert(j, i+1, begin, before(j, i, history.EntrySkip, "3", "by hand"))
		}), pass, "resumed 1 times; 1 skipped"},
		{"a skip that was taken back, and nothing done", entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryIntent, "3")
			skip, retry := before(j, i, history.EntrySkip, "3", "later"), before(j, i, history.EntryRetry, "3", "now")
			j = slices.DeleteFunc(j, func(e history.Entry) bool { return e.Step == "3" })
			return slices.Insert(j, i, skip, retry)
		}), fail, "step 3 was never confirmed"},
		{"a failed step that was tried again", entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryIntent, "3")
			return slices.Insert(j, i, before(j, i, history.EntryRetry, "3", ""))
		}), pass, "9 steps"},
		{"paused", paused(true), pass, "paused 1 times"},
		{"begun during a pause", paused(false), fail, "step 3 was begun during a pause"},
		{"approved", approved(same, ben, history.EntryApproved), pass, "1 approved"},
		{"asked and not approved", approved(same, ben, history.EntryRejected), fail, "step 3 was begun without a valid approval"},
		{"approved by oneself", approved(func(a *history.Approval) { a.By = "Aiko" }, aiko, history.EntryApproved), fail, "Aiko operates this run"},
		{"forged", approved(same, aiko, history.EntryApproved), fail, "the signature is not that of Ben"},
		{"by a stranger", approved(func(a *history.Approval) { a.By = "Carl" }, ben, history.EntryApproved), fail, "Carl is not among the approvers"},
		{"for another plan", approved(func(a *history.Approval) { a.Digest = "x" }, ben, history.EntryApproved), fail, "another step or another plan"},
		{"expired", approved(func(a *history.Approval) { a.Expires = 1 }, ben, history.EntryApproved), fail, "it had expired"},
		{"expired before the act", func(r *history.Run) {
			approved(same, ben, history.EntryApproved)(r)
			r.Journal[index(r.Journal, history.EntryIntent, "3")].T += history.Instant(time.Hour)
		}, fail, "without a valid approval"},
		{"presented twice", func(r *history.Run) {
			approved(same, ben, history.EntryApproved)(r)
			i := index(r.Journal, history.EntryApproved, "3")
			r.Journal = slices.Insert(r.Journal, i, r.Journal[i])
		}, fail, "it was presented before"},
		{"approved without an approval", func(r *history.Run) {
			approved(same, ben, history.EntryApproved)(r)
			r.Journal[index(r.Journal, history.EntryApproved, "3")].Approval = nil
		}, fail, "there is none in the journal"},
	})
}

// A run that was taken back: steps 1 to 3 were announced, all of them have an undo, and step 3 failed or somebody decided.
func TestTakenBack(t *testing.T) {
	undone := func(asked bool, change func(j []history.Entry) []history.Entry) func(*history.Run) {
		return func(r *history.Run) {
			j := r.Journal
			i := slices.IndexFunc(j, func(e history.Entry) bool { return e.Kind == history.EntryConfirm && e.Step == "3" })
			j = slices.Clone(j[:i])
			j[1].Saw["undo_checks"] = map[string]any{"1": nil, "2": nil, "3": nil, "4.1": nil}
			add := func(kind, step string) {
				e := j[0]
				e.Kind, e.Step, e.T = kind, step, j[len(j)-1].T+1
				if kind == history.EntryAbort && asked {
					e.Why = "the window closes"
				}
				j = append(j, e)
			}
			if !asked {
				add(history.EntryFailed, "3")
				j[len(j)-1].Error, j[len(j)-1].Title = "no answer", "Flip"
			}
			add(history.EntryAbort, "")
			for _, s := range []string{"3", "2", "1"} {
				for _, k := range []string{history.EntryIntent, history.EntryAct, history.EntryConfirm} {
					add(history.UndoPrefix+k, s)
				}
			}
			add(history.EntryUndone, "")
			r.Journal = change(j)
		}
	}
	same := func(j []history.Entry) []history.Entry { return j }
	index := func(j []history.Entry, kind, step string) int {
		i := slices.IndexFunc(j, func(e history.Entry) bool { return e.Kind == kind && e.Step == step })
		if i < 0 {
			panic(kind + " " + step)
		}
		return i
	}
	drop := func(kind, step string) func(j []history.Entry) []history.Entry {
		return func(j []history.Entry) []history.Entry { i := index(j, kind, step); return slices.Delete(j, i, i+1) }
	}
	judgeTable(t, check.NameProcedure, check.Procedure, []bend{
		{"as somebody decided", undone(true, same), pass, "the window closes"},
		{"for a failure", undone(false, same), fail, "step 3 (Flip) failed: no answer; and every step was taken back"},
		{"for a failure, and the drill ended with it", func(r *history.Run) {
			undone(false, same)(r)
			r.Meta.Interrupt = "the operator failed"
		}, fail, "step 3 (Flip) failed"},
		{"not to its end", undone(true, drop(history.EntryUndone, "")), fail, "was not taken back to its end"},
		{"one step forgotten", undone(true, func(j []history.Entry) []history.Entry {
			return slices.DeleteFunc(j, func(e history.Entry) bool { return e.Step == "2" && strings.HasPrefix(e.Kind, history.UndoPrefix) })
		}), fail, "step 2 was begun and never taken back"},
		{"not announced", undone(true, drop(history.UndoPrefix+history.EntryIntent, "2")), fail, "the undo of step 2 acted without having been announced"},
		{"not acted", undone(true, drop(history.UndoPrefix+history.EntryAct, "2")), fail, "confirmed as done by an operator who never acted"},
		{"not confirmed", undone(true, drop(history.UndoPrefix+history.EntryConfirm, "1")), fail, "step 1 was begun and never taken back"},
		{"in the wrong order", undone(true, func(j []history.Entry) []history.Entry {
			i := index(j, history.UndoPrefix+history.EntryIntent, "2")
			return append(slices.Clone(j[:i]), append(slices.Clone(j[i+3:i+6]), append(slices.Clone(j[i:i+3]), j[i+6:]...)...)...)
		}), fail, "step 2 was taken back after step 1"},
		{"forward again", undone(true, func(j []history.Entry) []history.Entry {
			e := j[index(j, history.EntryIntent, "3")]
			return slices.Insert(j, len(j)-1, e)
		}), fail, "step 3 was begun while the run was taken back"},
		{"before anybody decided", undone(true, func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryAbort, "")
			j[i], j[i+1] = j[i+1], j[i]
			return j
		}), fail, "step 3 was taken back before anybody decided so"},
		{"an undo was skipped", undone(true, func(j []history.Entry) []history.Entry {
			i := index(j, history.UndoPrefix+history.EntryIntent, "2")
			j[i].Kind, j[i].Why = history.UndoPrefix+history.EntrySkip, "done by hand"
			return slices.Delete(j, i+1, i+3)
		}), pass, "3 steps confirmed"},
		{"then done once more", func(r *history.Run) {
			again := slices.Clone(r.Journal)
			undone(true, same)(r)
			r.Journal = append(r.Journal, again...)
		}, pass, "12 steps confirmed"},
	})
}
