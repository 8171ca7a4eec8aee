package fence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// book is what the Witness decides by: a value, changed by pure functions of the time. Only what must survive the Witness is kept.
type book struct {
	Holder   string    `json:"holder"`
	Node     string    `json:"node"`
	Term     int64     `json:"term"`
	Released bool      `json:"released"`
	TTL      Millis    `json:"ttl_ms"` // that the last grant was given for
	Margin   Millis    `json:"margin_ms"`
	Override *Override `json:"override,omitempty"`

	until time.Time // another site may have it from here on; not kept: a restart begins it anew
}

// opened is a book that was just read: whoever holds the lease may have renewed it just before the Witness ended.
func (b book) opened(now time.Time, ttl, margin time.Duration) book {
	b.until = now
	if b.Holder != "" {
		b.until = now.Add(max(ttl, b.TTL.Duration()) + max(margin, b.Margin.Duration()))
	}
	b.TTL, b.Margin = max(b.TTL, millis(ttl)), max(b.Margin, millis(margin)) // until the next grant
	return b
}

func (b book) granted(now time.Time, ttl, margin time.Duration) book {
	b.TTL, b.Margin = millis(ttl), millis(margin)
	if until := now.Add(ttl + margin); until.After(b.until) {
		b.until = until
	}
	return b
}

// lease is what others are told.
func (b book) lease(now time.Time) Lease {
	return Lease{Holder: b.Holder, Node: b.Node, Term: b.Term, TTL: b.TTL, Left: millis(b.until.Sub(now)), Released: b.Released, Override: b.Override}
}

func (b book) refuse(now time.Time, format string, args ...any) error {
	return &HeldError{Why: fmt.Sprintf(format, args...), Lease: b.lease(now)}
}

// renew extends the holder's lease. term 0 is a Guard that holds nothing yet; a Guard of an earlier term must fence first.
func (b book) renew(now time.Time, ttl, margin time.Duration, site, node string, term int64) (book, error) {
	switch {
	case b.Holder != site:
		return b, b.refuse(now, "%s does not hold the lease: %s", site, b.lease(now))
	case b.Released:
		return b, b.refuse(now, "the lease of %s was released", site)
	case term != 0 && term != b.Term:
		return b, b.refuse(now, "the lease is in term %d, not in %d", b.Term, term)
	case b.Node != "" && b.Node != node && now.Before(b.until):
		return b, b.refuse(now, "%s renews the lease of %s", b.Node, site)
	}
	b.Node = node
	return b.granted(now, ttl, margin), nil
}

// take gives the lease to a site, if nobody else's is valid, or against that with an override.
func (b book) take(now time.Time, ttl, margin time.Duration, site string, o *Override) (book, error) {
	if b.Holder == site && !b.Released {
		return b, nil // it has it, or may renew it
	}
	if b.Holder != "" && b.Holder != site && now.Before(b.until) && o == nil {
		return b, b.refuse(now, "%s", b.lease(now))
	}
	if b.Holder == "" || !now.Before(b.until) || b.Holder == site {
		o = nil // it overrode nothing
	}
	next := book{Holder: site, Term: b.Term + 1, Override: o}
	if b.Holder == site { // given up, and taken back before it ended
		next.until = b.until
	}
	return next.granted(now, ttl, margin), nil
}

// release asks the holder to give the lease up. Its Guard learns it at its next renewal.
func (b book) release(now time.Time, site string) (book, error) {
	if b.Holder != "" && b.Holder != site {
		return b, b.refuse(now, "%s does not hold the lease: %s", site, b.lease(now))
	}
	if b.Holder != "" {
		b.Released = true
	}
	return b, nil
}

// fenced is a Guard's word that its site, which was asked to give the lease up, writes no more.
func (b book) fenced(now time.Time, site, node string, term int64) (book, error) {
	if b.Holder != site || b.Term != term || !b.Released || (b.Node != "" && b.Node != node) {
		return b, b.refuse(now, "nothing was released in term %d by %s of %s: %s", term, node, site, b.lease(now))
	}
	return book{Term: b.Term, TTL: b.TTL, Margin: b.Margin, until: now}, nil
}

// readBook reads the state file; found is false where there is none.
func readBook(path string) (b book, found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, false, nil
	}
	if err != nil {
		return b, false, fmt.Errorf("read the witness's state: %w", err)
	}
	if err := web.Strict(text, &b); err != nil {
		return b, false, fmt.Errorf("read the witness's state %s: %w", path, err)
	}
	return b, true, nil
}

// writeBook replaces the state file whole, and returns when it is durable.
func writeBook(path string, b book) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write the witness's state: %w", err)
	}
	if err := replace(path, append(text, '\n'), true); err != nil {
		return fmt.Errorf("write the witness's state: %w", err)
	}
	return nil
}

// replace writes a file whole: a kill at any moment leaves the old one or the new one.
func replace(path string, text []byte, durable bool) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && durable {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil || !durable {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
