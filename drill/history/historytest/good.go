// Package historytest makes the history of a drill that never happened: a small model of the two regions writes down what
// clients, persons, operator and databases would have recorded while Tokyo was lost. Judges and reports are tested with it.
// It is evidence of nothing, and says so: the run's engine is "model" and Simulated is set.
package historytest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// The instants of the model, since the run's origin. They are fixed, so that tests can point at them.
const (
	Load      = 10 * time.Second
	Steady    = 12 * time.Second
	Fault     = 24 * time.Second
	CutOsaka  = Fault + 8*time.Millisecond  // the links between the regions
	CutAll    = Fault + 30*time.Millisecond // the last link
	Decision  = 27 * time.Second
	Procedure = Decision + 100*time.Millisecond
	Detached  = Procedure + 900*time.Millisecond
	Writable  = Procedure + 1200*time.Millisecond
	AppUp     = Procedure + 3*time.Second
	DNS       = Procedure + 5*time.Second
	After     = Procedure + 6*time.Second
	LoadEnd   = 54 * time.Second
	Lag       = 400 * time.Millisecond // from commit in Tokyo to received in Osaka
	TTL       = time.Second
)

// UUIDs of the two MySQL servers.
const (
	TokyoUUID = "11111111-1111-1111-1111-111111111111"
	OsakaUUID = "22222222-2222-2222-2222-222222222222"
)

// Opening is the opening balance of each of the Accounts.
const (
	Accounts = 50
	Opening  = 1_000_000
)

// Good is the complete history of a drill in which everything went well: Tokyo was lost while customers were paying, an
// operator brought Osaka up by the nine steps of article 002, and only payments that had not been replicated were lost.
func Good(seed uint64) *history.Run {
	m := &model{
		rand: rand.New(rand.NewPCG(seed, 0x6b6972696b6165)), origin: history.Instant(1000 * time.Second),
		tokyo:   site{uuid: TokyoUUID, epoch: 1, times: map[string][]history.Instant{}},
		osaka:   site{uuid: OsakaUUID, epoch: 2, times: map[string][]history.Instant{}},
		charged: map[string]bool{},
	}
	m.run = &history.Run{Meta: meta(seed, m.origin)}
	m.customers()
	m.repeats()
	m.serve()
	m.probes()
	m.canaries()
	m.world()
	m.samples()
	m.journal()
	m.evidence()
	r := m.run
	slices.SortStableFunc(r.Operations, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
	for i := range r.Operations {
		r.Operations[i].ID = int64(i + 1)
	}
	m.load()
	slices.SortStableFunc(r.Marks, func(a, b history.Mark) int { return cmp.Compare(a.T, b.T) })
	return r
}

func meta(seed uint64, origin history.Instant) history.Meta {
	return history.Meta{
		Schema: history.SchemaVersion, Name: "Tokyo is lost while customers are paying", Feature: "features/region_loss.feature", Line: 7,
		Tags:  []string{"@region_loss", "@switchover"},
		Steps: []string{`When tokyo is lost`, `And the operator runs "switchover"`},
		Seed:  seed, Runtime: "local", Simulated: true, Engines: map[string]string{"model": "1"}, Topology: "two-region",
		Active: "tokyo", Standby: "osaka", BootID: "00000000-0000-0000-0000-000000000000", PID: 1,
		Origin: origin, Started: "2026-11-21T12:00:00+09:00", Ended: origin.Add(70 * time.Second), Procedure: "switchover",
		Objectives: history.Objectives{Recovery: history.Recovery{Target: history.Duration(time.Minute)}}, Facts: facts(),
	}
}

// model is the two-region platform, reduced to what is recorded about it.
type model struct {
	rand    *rand.Rand
	origin  history.Instant
	run     *history.Run
	tokyo   site
	osaka   site
	last    history.Instant // the newest payment's commit
	charges []history.Charge
	charged map[string]bool // request keys
	events  []event
}

// site is one region's MySQL: its own commits, in order.
type site struct {
	uuid    string
	epoch   int64
	commits []commit
	times   map[string][]history.Instant // by tag: when each GTID was committed; the n-th has number n
}

// until is the last GTID of a tag at t.
func (s site) until(tag string, t history.Instant) int64 {
	n, _ := slices.BinarySearch(s.times[tag], t+1)
	return int64(n)
}

type commit struct {
	t   history.Instant
	tag string
	n   int64
	key string
	yen int64
}

type event struct {
	t   history.Instant
	row history.EventRow
	osa bool // written in Osaka
}

func (m *model) at(d time.Duration) history.Instant { return m.origin.Add(d) }

func (m *model) since(t history.Instant) time.Duration { return t.Sub(m.origin) }

func (m *model) ms(lo, hi float64) time.Duration {
	return time.Duration((lo + (hi-lo)*m.rand.Float64()) * float64(time.Millisecond))
}

// schedule calls f with the intended and the sent instant of each slot of an open-model stream.
func (m *model) schedule(rate float64, f func(slot int, intended, sent history.Instant)) {
	every := time.Duration(float64(time.Second) / rate)
	slot := 0
	for t := Load; t+every < LoadEnd; t += every {
		intended := m.at(t + time.Duration(m.rand.Int64N(int64(every)/2+1)))
		f(slot, intended, intended.Add(m.ms(0.05, 1.5)))
		slot++
	}
}

// dialled is the site that a customer reaches at t: by DNS with its TTL, or always the first one.
func (m *model) dialled(t history.Instant, stale bool) string {
	if !stale && m.since(t) > DNS+m.ms(0, float64(TTL/time.Millisecond)) {
		return "osaka"
	}
	return "tokyo"
}

func (m *model) customers() {
	m.schedule(50, func(slot int, intended, sent history.Instant) {
		stale := m.rand.IntN(10) == 0
		m.run.Operations = append(m.run.Operations, history.Operation{
			Stream: history.StreamPayment, Slot: slot, Attempt: 1, Key: fmt.Sprintf("p-%05d", slot), Yen: 100 * (1 + m.rand.Int64N(90)),
			Intended: intended, Sent: sent, Stale: stale, Site: m.dialled(sent, stale),
		})
	})
}

// repeats send each key three times: soon again, and once more much later, most of them over the switch.
func (m *model) repeats() {
	m.schedule(5, func(slot int, intended, sent history.Instant) {
		yen := 100 * (1 + m.rand.Int64N(90))
		for attempt, wait := range []time.Duration{0, time.Second, 12 * time.Second} {
			if m.since(sent.Add(wait)) >= LoadEnd {
				break
			}
			m.run.Operations = append(m.run.Operations, history.Operation{
				Stream: history.StreamRepeat, Slot: slot, Attempt: attempt + 1, Key: fmt.Sprintf("r-%05d", slot), Yen: yen,
				Intended: intended.Add(wait), Sent: sent.Add(wait), Site: m.dialled(sent.Add(wait), false),
			})
		}
	})
}

// serve plays all payments in the order they were sent.
func (m *model) serve() {
	ops := m.run.Operations
	slices.SortStableFunc(ops, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
	done := map[string]history.Instant{} // key → commit in Tokyo
	redone := map[string]bool{}          // DONE in Osaka
	for i := range ops {
		op := &ops[i]
		took := m.ms(6, 18)
		commit := max(op.Sent.Add(took*6/10), m.last+1) // one binary log, one order
		took = commit.Add(took * 4 / 10).Sub(op.Sent)
		if op.Site == "tokyo" {
			if op.Sent >= m.at(CutAll) {
				refuse(op, m.ms(0.2, 1))
				continue
			}
			if commit >= m.at(CutAll) { // the node died under it
				reset(op, m.at(CutAll).Sub(op.Sent)+m.ms(1, 4))
				continue
			}
			if _, again := done[op.Key]; !again {
				done[op.Key], m.last = commit, commit
				m.charge(op, commit.Add(-2*time.Millisecond))
				m.commit(&m.tokyo, commit, "open", "", 0)
				m.commit(&m.tokyo, commit, "pay", op.Key, op.Yen)
				m.events = append(m.events, event{commit.Add(time.Millisecond), history.EventRow{Key: op.Key, Yen: op.Yen, Epoch: 1}, false})
			}
			if op.Sent.Add(took) > m.at(CutAll) { // done, but the answer never arrived
				reset(op, m.at(CutAll).Sub(op.Sent)+m.ms(1, 4))
				continue
			}
			answer(op, took, 1, fmt.Sprintf("tokyo-app-%d", 1+m.rand.IntN(2)))
			continue
		}
		replicated := false
		if t, ok := done[op.Key]; ok {
			replicated = t.Add(Lag) <= m.at(CutOsaka)
		}
		if !replicated && !redone[op.Key] {
			redone[op.Key], m.last = true, commit
			m.charge(op, commit.Add(-2*time.Millisecond))
			m.commit(&m.osaka, commit, "open", "", 0)
			m.commit(&m.osaka, commit, "pay", op.Key, op.Yen)
			m.events = append(m.events, event{commit.Add(time.Millisecond), history.EventRow{Key: op.Key, Yen: op.Yen, Epoch: 2}, true})
		}
		answer(op, took, 2, fmt.Sprintf("osaka-app-%d", 1+m.rand.IntN(2)))
	}
}

func (m *model) charge(op *history.Operation, t history.Instant) {
	request := "req-" + op.Key
	m.charges = append(m.charges, history.Charge{T: t, Payment: op.Key, Request: request, Yen: op.Yen, Dup: m.charged[request]})
	m.charged[request] = true
}

func (m *model) commit(s *site, t history.Instant, tag, key string, yen int64) {
	s.times[tag] = append(s.times[tag], t)
	s.commits = append(s.commits, commit{t, tag, int64(len(s.times[tag])), key, yen})
}

func answer(op *history.Operation, took time.Duration, epoch int64, node string) {
	op.Outcome, op.Status, op.Finished, op.Epoch, op.Node, op.Wire = history.OK, 200, op.Sent.Add(took), epoch, node, 1
}

func refuse(op *history.Operation, took time.Duration) {
	op.Outcome, op.Error, op.Finished = history.Fail, "refused", op.Sent.Add(took)
}

func reset(op *history.Operation, took time.Duration) {
	op.Outcome, op.Error, op.Finished, op.Wire = history.Info, "reset", op.Sent.Add(took), 1
}

func (m *model) probes() {
	m.schedule(100, func(slot int, intended, sent history.Instant) {
		stale := m.rand.IntN(10) == 0
		op := history.Operation{
			Stream: history.StreamProbe, Slot: slot, Attempt: 1, Key: fmt.Sprintf("probe-%05d", slot), Intended: intended, Sent: sent,
			Stale: stale, Site: m.dialled(sent, stale),
		}
		took := m.ms(2, 9)
		switch {
		case op.Site == "osaka":
			answer(&op, took, 2, "osaka-app-1")
		case sent >= m.at(CutAll):
			refuse(&op, m.ms(0.2, 1))
		case sent.Add(took) > m.at(CutAll):
			reset(&op, m.at(CutAll).Sub(sent)+m.ms(1, 4))
		default:
			answer(&op, took, 1, "tokyo-app-1")
		}
		m.run.Operations = append(m.run.Operations, op)
	})
}

func (m *model) canaries() {
	for _, node := range []string{"tokyo-mysql-1", "osaka-mysql-1"} {
		at := node[:5]
		m.schedule(20, func(slot int, intended, sent history.Instant) {
			op := history.Operation{
				Stream: history.StreamCanary, Slot: slot, Attempt: 1, Key: fmt.Sprintf("%s-%05d", at, slot), Intended: intended, Sent: sent,
				Site: at, Node: node,
			}
			took := m.ms(0.8, 3)
			switch {
			case at == "tokyo" && sent >= m.at(CutAll):
				refuse(&op, m.ms(0.1, 0.6))
			case at == "tokyo" && sent.Add(took) > m.at(CutAll):
				reset(&op, took)
			case at == "osaka" && m.since(sent) < Writable:
				op.Outcome, op.Error, op.Wire, op.Finished = history.Fail, "read-only", 1, sent.Add(took)
			default:
				op.Outcome, op.Wire, op.Finished = history.OK, 1, sent.Add(took)
				s := &m.tokyo
				if at == "osaka" {
					s = &m.osaka
				}
				m.commit(s, sent.Add(took/2), "canary", "", 0)
			}
			m.run.Operations = append(m.run.Operations, op)
		})
	}
}

func (m *model) mark(d time.Duration, kind, name string, data any) {
	m.run.Marks = append(m.run.Marks, mark(m.at(d), kind, name, data))
}
