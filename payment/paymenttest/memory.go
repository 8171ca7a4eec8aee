// Package paymenttest holds the platform's storage in memory, for tests, and the contract that every storage keeps, in memory or
// real. The memory is not a database: it does what the interfaces promise and fails when a test says so.
package paymenttest

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// Failure decides whether a call fails before or after it had its effect. Nil errors let it be.
type Failure func(method, key string) (before, after error)

// Ledger is a payment.Ledger and payment.Settler in memory.
type Ledger struct {
	Fail Failure // set before first use

	mu       sync.Mutex
	epoch    int64
	opening  map[int]int64
	balance  map[int]int64
	payments map[string]payment.Payment
	opened   map[string]time.Time
	refunds  map[[2]string]payment.Refund
	entries  map[int]map[string]int64
	probes   map[int]int64
	dates    []payment.Settlement
}

var (
	_ payment.Ledger   = (*Ledger)(nil)
	_ payment.Settler  = (*Ledger)(nil)
	_ payment.Journal  = (*Journal)(nil)
	_ payment.Acquirer = (*Acquirer)(nil)
	_ payment.Params   = (*Params)(nil)
)

// NewLedger makes a ledger of accounts 1 to n in an epoch.
func NewLedger(n int, opening, epoch int64) *Ledger {
	l := &Ledger{epoch: epoch, opening: map[int]int64{}, balance: map[int]int64{}, payments: map[string]payment.Payment{}, opened: map[string]time.Time{}, refunds: map[[2]string]payment.Refund{}, entries: map[int]map[string]int64{}, probes: map[int]int64{}}
	for id := 1; id <= n; id++ {
		l.opening[id], l.balance[id], l.entries[id] = opening, opening, map[string]int64{}
	}
	return l
}

// SetEpoch raises the epoch, as operators do.
func (l *Ledger) SetEpoch(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = n
}

func call(f Failure, ctx context.Context, method, key string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return payment.NotExecuted(err)
	}
	var before, after error
	if f != nil {
		before, after = f(method, key)
	}
	if before != nil {
		return before
	}
	if err := do(); err != nil {
		return err
	}
	return after
}

func (l *Ledger) locked(ctx context.Context, method, key string, do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return call(l.Fail, ctx, method, key, do)
}

func (l *Ledger) inEpoch(w payment.Writer) error {
	if w.Epoch != l.epoch {
		return payment.NotExecuted(fmt.Errorf("%w: this node writes in %d, the store is in %d", payment.ErrStaleEpoch, w.Epoch, l.epoch))
	}
	return nil
}

// Open implements payment.Ledger.
func (l *Ledger) Open(ctx context.Context, p payment.Payment, w payment.Writer) (row payment.Payment, fresh bool, err error) {
	err = l.locked(ctx, "open", p.Key, func() error {
		if err := p.Check(); err != nil {
			return payment.NotExecuted(err)
		}
		for _, id := range []int{p.From, p.To} {
			if _, ok := l.balance[id]; !ok {
				return payment.NotExecuted(fmt.Errorf("account %d: %w", id, payment.ErrNoAccount))
			}
		}
		found, known := l.payments[p.Key]
		row = found
		if err := l.inEpoch(w); err != nil {
			return err
		}
		if known {
			if !found.Same(p) {
				return payment.NotExecuted(payment.ErrConflict)
			}
			return nil
		}
		p.State, p.Epoch, p.Site, p.Node = payment.Pending, w.Epoch, w.Site, w.Node
		l.payments[p.Key], row, fresh = p, p, true
		l.opened[p.Key] = time.Now()
		return nil
	})
	return row, fresh, err
}

// Finish implements payment.Ledger.
func (l *Ledger) Finish(ctx context.Context, key string, w payment.Writer) (row payment.Payment, err error) {
	err = l.locked(ctx, "finish", key, func() error {
		p, ok := l.payments[key]
		if !ok {
			return payment.NotExecuted(payment.ErrNotFound)
		}
		switch row = p; p.State {
		case payment.Done:
			return nil
		case payment.Cancelled:
			return payment.NotExecuted(payment.ErrCancelled)
		}
		if err := l.inEpoch(w); err != nil {
			return err
		}
		l.balance[p.From] -= p.Yen
		l.balance[p.To] += p.Yen
		l.entries[p.From][key], l.entries[p.To][key] = -p.Yen, p.Yen
		p.State, p.Epoch, p.Site, p.Node = payment.Done, w.Epoch, w.Site, w.Node
		l.payments[key], row = p, p
		return nil
	})
	return row, err
}

// Cancel implements payment.Ledger.
func (l *Ledger) Cancel(ctx context.Context, key string, w payment.Writer) (row payment.Payment, err error) {
	err = l.locked(ctx, "cancel", key, func() error {
		p, ok := l.payments[key]
		if !ok {
			return payment.NotExecuted(payment.ErrNotFound)
		}
		switch row = p; p.State {
		case payment.Cancelled:
			return nil
		case payment.Done:
			return payment.NotExecuted(payment.ErrDone)
		}
		if err := l.inEpoch(w); err != nil {
			return err
		}
		p.State, p.Epoch, p.Site, p.Node = payment.Cancelled, w.Epoch, w.Site, w.Node
		l.payments[key], row = p, p
		return nil
	})
	return row, err
}

// Refunded implements payment.Ledger.
func (l *Ledger) Refunded(ctx context.Context, r payment.Refund, w payment.Writer) error {
	return l.locked(ctx, "refunded", r.Payment, func() error {
		if err := l.inEpoch(w); err != nil {
			return err
		}
		id := [2]string{r.Payment, r.Request}
		if was, ok := l.refunds[id]; ok && was != r {
			return payment.NotExecuted(payment.ErrConflict)
		}
		l.refunds[id] = r
		return nil
	})
}

// Refunds implements payment.Ledger.
func (l *Ledger) Refunds(ctx context.Context) (out []payment.Refund, err error) {
	err = l.locked(ctx, "refunds", "", func() error {
		for _, r := range l.refunds {
			out = append(out, r)
		}
		sort.Slice(out, func(i, j int) bool {
			return out[i].Payment < out[j].Payment || out[i].Payment == out[j].Payment && out[i].Request < out[j].Request
		})
		return nil
	})
	return out, err
}

// Audit implements payment.Ledger.
func (l *Ledger) Audit(ctx context.Context, after string, limit int) ([]payment.Aged, error) {
	return l.aged(ctx, "audit", after, limit, func(payment.Payment) bool { return true })
}

// Unfinished implements payment.Ledger.
func (l *Ledger) Unfinished(ctx context.Context, after string, limit int) ([]payment.Aged, error) {
	return l.aged(ctx, "unfinished", after, limit, func(p payment.Payment) bool { return p.State == payment.Pending })
}

func (l *Ledger) aged(ctx context.Context, method, after string, limit int, want func(payment.Payment) bool) (rows []payment.Aged, err error) {
	err = l.locked(ctx, method, after, func() error {
		for key, p := range l.payments {
			if key > after && want(p) {
				rows = append(rows, payment.Aged{Payment: p, Age: time.Since(l.opened[key])})
			}
		}
		sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
		rows = rows[:min(limit, len(rows))]
		return nil
	})
	return rows, err
}

// Lose removes a payment from the ledger, and the money that it moved, as the loss of a region does with what was not replicated.
func (l *Ledger) Lose(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.payments[key]
	if p.State == payment.Done {
		l.balance[p.From] += p.Yen
		l.balance[p.To] -= p.Yen
		delete(l.entries[p.From], key)
		delete(l.entries[p.To], key)
	}
	delete(l.payments, key)
	delete(l.opened, key)
}

// Find implements payment.Ledger.
func (l *Ledger) Find(ctx context.Context, key string) (row payment.Payment, err error) {
	err = l.locked(ctx, "find", key, func() error {
		var ok bool
		if row, ok = l.payments[key]; !ok {
			return payment.ErrNotFound
		}
		return nil
	})
	return row, err
}

// List implements payment.Ledger.
func (l *Ledger) List(ctx context.Context, after string, limit int) (rows []payment.Payment, err error) {
	err = l.locked(ctx, "list", after, func() error {
		for key, p := range l.payments {
			if key > after {
				rows = append(rows, p)
			}
		}
		sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
		rows = rows[:min(limit, len(rows))]
		return nil
	})
	return rows, err
}

// Probe implements payment.Ledger.
func (l *Ledger) Probe(ctx context.Context, p payment.Probe, w payment.Writer) error {
	return l.locked(ctx, "probe", "", func() error {
		if err := l.inEpoch(w); err != nil {
			return err
		}
		l.probes[p.Slot] = p.N
		return nil
	})
}

// Ready implements payment.Ledger.
func (l *Ledger) Ready(ctx context.Context, w payment.Writer) error {
	return l.locked(ctx, "ready", "", func() error { return l.inEpoch(w) })
}

// Settle implements payment.Settler.
func (l *Ledger) Settle(ctx context.Context, w payment.Writer) (s payment.Settlement, err error) {
	err = l.locked(ctx, "settle", "", func() error {
		if err := l.inEpoch(w); err != nil {
			return err
		}
		s = payment.Settlement{Date: time.Date(2023, 2, 1+len(l.dates), 0, 0, 0, 0, time.UTC).Format(time.DateOnly), Site: w.Site, Epoch: w.Epoch}
		for _, p := range l.payments {
			if p.State == payment.Done {
				s.Payments++
			}
		}
		for _, d := range l.dates {
			s.Payments -= d.Payments
		}
		l.dates = append(l.dates, s)
		return nil
	})
	return s, err
}

// Last implements payment.Settler.
func (l *Ledger) Last(ctx context.Context) (s payment.Settlement, err error) {
	err = l.locked(ctx, "last", "", func() error {
		if len(l.dates) == 0 {
			return payment.ErrNotFound
		}
		s = l.dates[len(l.dates)-1]
		return nil
	})
	return s, err
}

// Conserved says how money was not conserved, or nil: the balances sum to the opening ones, and each is its opening balance and
// its entries.
func (l *Ledger) Conserved() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var opening, now int64
	for id := range l.opening {
		opening += l.opening[id]
		now += l.balance[id]
		sum := l.opening[id]
		for _, amount := range l.entries[id] {
			sum += amount
		}
		if sum != l.balance[id] {
			return fmt.Errorf("account %d has %d, its statement says %d", id, l.balance[id], sum)
		}
	}
	if opening != now {
		return fmt.Errorf("accounts hold %d, they held %d", now, opening)
	}
	return nil
}

// Balance of an account.
func (l *Ledger) Balance(id int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.balance[id]
}

// Journal is a payment.Journal in memory.
type Journal struct {
	Fail Failure // set before first use

	mu     sync.Mutex
	events map[string]payment.Event
	writes int
}

// NewJournal makes an empty journal.
func NewJournal() *Journal { return &Journal{events: map[string]payment.Event{}} }

// Append implements payment.Journal.
func (j *Journal) Append(ctx context.Context, e payment.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return call(j.Fail, ctx, "append", e.Key, func() error {
		j.events[e.Key] = e
		j.writes++
		return nil
	})
}

// Event implements payment.Journal.
func (j *Journal) Event(ctx context.Context, key string) (e payment.Event, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err = call(j.Fail, ctx, "event", key, func() error {
		var ok bool
		if e, ok = j.events[key]; !ok {
			return payment.ErrNotFound
		}
		return nil
	})
	return e, err
}

// Events implements payment.Journal.
func (j *Journal) Events(ctx context.Context) (out []payment.Event, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err = call(j.Fail, ctx, "events", "", func() error {
		for _, e := range j.events {
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// Lose removes an event, as the loss of a region does with what was not replicated.
func (j *Journal) Lose(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.events, key)
}

// Probe implements payment.Journal.
func (j *Journal) Probe(ctx context.Context, p payment.Probe) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return call(j.Fail, ctx, "probe", "", func() error { return nil })
}

// Ready implements payment.Journal.
func (j *Journal) Ready(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return call(j.Fail, ctx, "ready", "", func() error { return nil })
}

// Look returns a payment's event.
func (j *Journal) Look(key string) (payment.Event, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.events[key]
	return e, ok
}

// Acquirer is a payment.Acquirer in memory.
type Acquirer struct {
	Fail Failure // set before first use

	mu       sync.Mutex
	accounts map[string]*payment.Account
	when     map[string]time.Time // request → charged
}

// NewAcquirer makes an acquirer that has charged nothing.
func NewAcquirer() *Acquirer {
	return &Acquirer{accounts: map[string]*payment.Account{}, when: map[string]time.Time{}}
}

func (a *Acquirer) account(id string) *payment.Account {
	x := a.accounts[id]
	if x == nil {
		x = &payment.Account{Payment: id}
		a.accounts[id] = x
	}
	return x
}

// told is a copy of an account, as it is told now.
func (a *Acquirer) told(x *payment.Account) payment.Account {
	c := *x
	c.Charges = append([]payment.Charged{}, x.Charges...)
	for i := range c.Charges {
		c.Charges[i].Age = time.Since(a.when[c.Charges[i].Request])
	}
	return c
}

func (a *Acquirer) locked(ctx context.Context, method, key string, do func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return call(a.Fail, ctx, method, key, do)
}

// Charge implements payment.Acquirer.
func (a *Acquirer) Charge(ctx context.Context, c payment.Charge) (dup bool, err error) {
	err = a.locked(ctx, "charge", c.Payment, func() error {
		x := a.account(c.Payment)
		for _, k := range x.Charges {
			if k.Request == c.Request && !k.Refunded {
				dup = true
				return nil
			}
			if k.Request == c.Request {
				return payment.NotExecuted(payment.ErrClosed)
			}
		}
		if x.Closed() {
			return payment.NotExecuted(payment.ErrClosed)
		}
		x.Charges = append(x.Charges, payment.Charged{Charge: c})
		a.when[c.Request] = time.Now()
		return nil
	})
	return dup, err
}

// Status implements payment.Acquirer.
func (a *Acquirer) Status(ctx context.Context, id string) (out payment.Account, err error) {
	err = a.locked(ctx, "status", id, func() error {
		out = payment.Account{Payment: id}
		if x := a.accounts[id]; x != nil {
			out = a.told(x)
		}
		return nil
	})
	return out, err
}

// Void implements payment.Acquirer.
func (a *Acquirer) Void(ctx context.Context, id string) (out payment.Account, err error) {
	err = a.locked(ctx, "void", id, func() error {
		x := a.account(id)
		if len(x.Charges) == 0 {
			x.Voided = true
		}
		out = a.told(x)
		return nil
	})
	return out, err
}

// Refund implements payment.Acquirer.
func (a *Acquirer) Refund(ctx context.Context, r payment.Refund) (dup bool, err error) {
	err = a.locked(ctx, "refund", r.Payment, func() error {
		x := a.account(r.Payment)
		for i, c := range x.Charges {
			if c.Request == r.Request && c.Yen == r.Yen {
				dup = c.Refunded
				x.Charges[i].Refunded = true
				return nil
			}
		}
		return payment.NotExecuted(fmt.Errorf("no such charge: %w", payment.ErrNotFound))
	})
	return dup, err
}

// Accounts implements payment.Acquirer.
func (a *Acquirer) Accounts(ctx context.Context) (out []payment.Account, err error) {
	err = a.locked(ctx, "accounts", "", func() error {
		for _, x := range a.accounts {
			out = append(out, a.told(x))
		}
		sort.Slice(out, func(i, j int) bool { return out[i].Payment < out[j].Payment })
		return nil
	})
	return out, err
}

// Charges says how often a payment was charged, given back or not.
func (a *Acquirer) Charges(key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x := a.accounts[key]; x != nil {
		return len(x.Charges)
	}
	return 0
}

// Params is a payment.Params in memory.
type Params struct {
	Fail func() error // set before first use; nil: never fails

	mu  sync.Mutex
	now payment.Values
}

// NewParams makes a store at version 1.
func NewParams(values map[string]string) *Params {
	p := &Params{now: payment.Values{Values: map[string]string{}}}
	p.Set(values)
	return p
}

// Set merges values.
func (p *Params) Set(values map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := payment.Values{Version: p.now.Version + 1, Values: map[string]string{}}
	for _, m := range []map[string]string{p.now.Values, values} {
		for k, v := range m {
			next.Values[k] = v
		}
	}
	p.now = next
}

// Get implements payment.Params.
func (p *Params) Get(ctx context.Context) (payment.Values, error) {
	if err := ctx.Err(); err != nil {
		return payment.Values{}, err
	}
	if p.Fail != nil {
		if err := p.Fail(); err != nil {
			return payment.Values{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, nil
}

// Complete are parameters with which any node starts.
func Complete(epoch string) map[string]string {
	return map[string]string{
		payment.ParamMySQL:       "127.0.0.1:3306",
		payment.ParamCassandra:   "127.0.0.1:9042",
		payment.ParamDC:          "tokyo",
		payment.ParamEpoch:       epoch,
		payment.ParamAcquirer:    "http://127.0.0.1:8080",
		payment.ParamClusterForm: "true",
		payment.ParamBatch:       "false",
	}
}
