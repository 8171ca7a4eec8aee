package procedure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

// content reads all rows of both stores in both regions. The region that serves goes on writing meanwhile, so that a row that
// differs is read again, once the other region has all that this one had: a row that differs every time differs.
func (g Gate) content(ctx context.Context, p pair) (string, error) {
	saw, err := g.rows(ctx, p)
	if err != nil {
		return "", err
	}
	events, err := g.events(ctx, p)
	return saw + "; " + events, err
}

// attempts is how often content that differs is read again.
const attempts = 4

func (g Gate) rows(ctx context.Context, p pair) (string, error) {
	target, source, err := p.both()
	if err != nil {
		return "", err
	}
	var always map[string]string // rows that differed each time
	for range attempts {
		a, err := source.Holdings(ctx)
		if err != nil {
			return "", fmt.Errorf("read what %s has: %w", g.From, err)
		}
		if _, err := target.WaitExecuted(ctx, a.Executed, time.Second); err != nil { // too late: the rows tell
			return "", fmt.Errorf("wait for %s: %w", g.To, err)
		}
		b, err := target.Holdings(ctx)
		if err != nil {
			return "", fmt.Errorf("read what %s has: %w", g.To, err)
		}
		if always = still(always, differing(rowsOf(a), rowsOf(b))); len(always) == 0 {
			return fmt.Sprintf("%d rows in mysql are equal", len(a.Payments)+len(a.Entries)+len(a.Refunds)+len(a.Accounts)), nil
		}
	}
	return "", fmt.Errorf("%d rows in mysql differ between %s and %s: %s", len(always), g.From, g.To, some(always))
}

// rowsOf makes one text a row. Balances move with every payment and may differ while rows are read: they are held against their own
// server's entries.
func rowsOf(h salvage.Holdings) map[string]string {
	out := map[string]string{}
	moved := map[int]int64{}
	for _, p := range h.Payments {
		out["payment "+p.Key] = fmt.Sprintf("%d>%d %d yen %s", p.From, p.To, p.Yen, p.State)
	}
	for _, e := range h.Entries {
		out[fmt.Sprintf("entry %d/%s", e.Account, e.Key)] = strconv.FormatInt(e.Amount, 10)
		moved[e.Account] += e.Amount
	}
	for _, r := range h.Refunds {
		out["refund "+r.Key+"/"+r.Request] = strconv.FormatInt(r.Yen, 10)
	}
	for _, a := range h.Accounts {
		out[fmt.Sprintf("account %d", a.ID)] = fmt.Sprintf("opened with %d, and off its entries by %d", a.Opening, a.Balance-a.Opening-moved[a.ID])
	}
	return out
}

// differing are the rows that are not equal, with both texts.
func differing(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			out[k] = v + " ≠ " + or(w, "nothing")
		}
	}
	for k, w := range b {
		if _, ok := a[k]; !ok {
			out[k] = "nothing ≠ " + w
		}
	}
	return out
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// still keeps the rows that differed before and differ now; before is nil the first time.
func still(before, now map[string]string) map[string]string {
	if before == nil {
		return now
	}
	maps.DeleteFunc(now, func(k, _ string) bool { _, ok := before[k]; return !ok })
	return now
}

// some names the first few rows.
func some(rows map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if len(out) == 3 {
			out = append(out, "…")
			break
		}
		out = append(out, k+" ("+rows[k]+")")
	}
	return strings.Join(out, ", ")
}

func (g Gate) events(ctx context.Context, p pair) (string, error) {
	read := func(site topology.Site) (map[string]string, error) {
		events, err := journalOf(ctx, p.estate, site)
		if err != nil {
			return nil, err
		}
		out := map[string]string{}
		for _, e := range events {
			out["event "+e.Key] = fmt.Sprintf("%d yen in epoch %d", e.Yen, e.Epoch)
		}
		return out, nil
	}
	var always map[string]string
	for range attempts {
		a, err := read(g.From)
		if err != nil {
			return "", err
		}
		b, err := read(g.To)
		if err != nil {
			return "", err
		}
		if always = still(always, differing(a, b)); len(always) == 0 {
			return fmt.Sprintf("%d events in cassandra are equal", len(a)), nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(300 * time.Millisecond): // a write reaches the other region's nodes after the one that answered
		}
	}
	return "", fmt.Errorf("%d events in cassandra differ between %s and %s: %s", len(always), g.From, g.To, some(always))
}
