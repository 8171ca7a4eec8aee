package fence

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// OverrideKey is the parameter by which people let a site write while the Witness does not answer: the site, then who approved it and
// why. A Witness that answers again decides alone; before it is started its holder must be made to agree, or it asks the site to stop.
const OverrideKey = "fence.override"

// overrideTerm is the term of a lease that no Witness granted.
const overrideTerm = -1

// decidedWithin bounds the question to the parameter store.
const decidedWithin = 300 * time.Millisecond

// decided is a Witness with people behind it: what they decided counts while it does not answer.
type decided struct {
	renewer
	site   string
	params payment.Params
}

// Renew implements renewer.
func (d *decided) Renew(ctx context.Context, site, node string, term int64) (Lease, error) {
	one, cancel := context.WithCancel(ctx)
	if end, ok := ctx.Deadline(); ok { // most of the time is the witness's
		cancel()
		one, cancel = context.WithDeadline(ctx, time.Now().Add(time.Until(end)*3/4))
	}
	defer cancel()
	l, err := d.renewer.Renew(one, site, node, term)
	if err == nil || errors.Is(err, ErrHeld) {
		return l, err
	}
	two, stop := context.WithTimeout(ctx, decidedWithin)
	defer stop()
	v, perr := d.params.Get(two)
	if perr != nil {
		return l, err // nothing was decided, as far as anybody knows here
	}
	if s, _, _ := strings.Cut(v.Values[OverrideKey], " "); s != d.site || (term != 0 && term != overrideTerm) {
		return l, err // a lease that was granted runs to its end first
	}
	return Lease{Holder: d.site, Node: node, Term: overrideTerm, TTL: millis(DefaultTTL)}, nil
}
