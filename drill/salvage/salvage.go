// Package salvage is the record of what a database held that nobody else has, saved before the database is emptied. A region that
// was lost and comes back holds payments that it acknowledged and never sent; article 002's way back begins with an empty database
// (切戻準備, row 1), and whatever was not saved before that is gone for good.
//
// A salvage is a folder of one NDJSON file a kind of row and a manifest with counts, checksums and the GTID sets that say of exactly
// which state of which server it was taken. It appears as a whole or not at all.
package salvage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Names of the files.
const (
	ManifestFile     = "manifest.json"
	PaymentsFile     = "payments.ndjson" // what `paymentd reconcile --salvage` reads
	EntriesFile      = "entries.ndjson"
	RefundsFile      = "refunds.ndjson"
	TransactionsFile = "transactions.ndjson" // pay transactions of the binary log
	EventsFile       = "events.ndjson"       // journal events of the region's Cassandra
)

// Payment is a payment's row, whole.
type Payment struct {
	Key   string `json:"key"`
	From  int    `json:"from"`
	To    int    `json:"to"`
	Yen   int64  `json:"yen"`
	State string `json:"state"`
	Epoch int64  `json:"epoch"`
	Site  string `json:"site"`
	Node  string `json:"node"`
	There string `json:"there,omitempty"` // in a salvage: state that the serving region has it in, "" when it has no such row
}

// Entry is one row of an account's statement.
type Entry struct {
	Account int    `json:"account"`
	Key     string `json:"key"`
	Amount  int64  `json:"amount"`
}

// Refund is one row of the refunds.
type Refund struct {
	Key     string `json:"key"`
	Request string `json:"request"`
	Yen     int64  `json:"yen"`
	Epoch   int64  `json:"epoch"`
}

// Account is one account.
type Account struct {
	ID      int   `json:"id"`
	Opening int64 `json:"opening"`
	Balance int64 `json:"balance"`
}

// Holdings is what one MySQL holds of the platform's data, in one consistent read, with the transactions that it had executed before
// the read began.
type Holdings struct {
	UUID     string // server's
	Executed string // GTID set
	Payments []Payment
	Entries  []Entry
	Refunds  []Refund
	Accounts []Account
}

// Rows are what one holds and another lacks.
type Rows struct {
	Payments     []Payment
	Entries      []Entry
	Refunds      []Refund
	Transactions []history.Transaction
	Events       []history.EventRow
}

// Lacking returns the rows of h that other lacks or has otherwise. A row that other has brought further is among them, with the
// state that it has There: whoever replays it decides.
func (h Holdings) Lacking(other Holdings) Rows {
	var r Rows
	payments := map[string]Payment{}
	for _, p := range other.Payments {
		payments[p.Key] = p
	}
	for _, p := range h.Payments {
		if have, ok := payments[p.Key]; !ok || have != p {
			p.There = have.State
			r.Payments = append(r.Payments, p)
		}
	}
	r.Entries = lacking(h.Entries, other.Entries)
	r.Refunds = lacking(h.Refunds, other.Refunds)
	return r
}

func lacking[T comparable](have, other []T) (out []T) {
	there := map[T]bool{}
	for _, x := range other {
		there[x] = true
	}
	for _, x := range have {
		if !there[x] {
			out = append(out, x)
		}
	}
	return out
}

// LackingEvents returns the events that other lacks or has otherwise.
func LackingEvents(have, other []history.EventRow) []history.EventRow { return lacking(have, other) }

// Manifest says of what a salvage was taken, and what is in it.
type Manifest struct {
	Schema   int              `json:"schema"` // 1
	Region   string           `json:"region"`
	Node     string           `json:"node"`
	UUID     string           `json:"server_uuid"`
	Executed string           `json:"gtid_executed"` // of that server, while nobody could write there
	Against  string           `json:"against"`       // gtid_executed of the server that serves
	Missing  string           `json:"missing"`       // Executed without Against: what only this server has
	ByTag    map[string]int64 `json:"missing_by_tag"`
	Events   string           `json:"events"` // "read", or why the region's journal could not be read
	Taken    time.Time        `json:"taken"`
	Files    map[string]File  `json:"files"`
}

// File is one file of a salvage.
type File struct {
	Rows   int    `json:"rows"`
	SHA256 string `json:"sha256"`
}

// Of says whether the salvage was taken of this server in this state.
func (m Manifest) Of(uuid, executed string) error {
	if m.UUID != uuid {
		return fmt.Errorf("the salvage is of server %s, this is server %s", m.UUID, uuid)
	}
	had, err := history.ParseGTIDSet(m.Executed)
	if err != nil {
		return fmt.Errorf("read the salvage's GTID set: %w", err)
	}
	has, err := history.ParseGTIDSet(executed)
	if err != nil {
		return fmt.Errorf("read the server's GTID set: %w", err)
	}
	if more, less := has.Subtract(had), had.Subtract(has); !more.Empty() || !less.Empty() {
		return fmt.Errorf("the server has executed %s since the salvage was taken, and lacks %s of it", or(more.String(), "nothing"), or(less.String(), "nothing"))
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// ByTag counts the transactions of a GTID set by the tags that the platform uses; "" are the untagged ones.
func ByTag(set history.GTIDSet) map[string]int64 {
	out := map[string]int64{}
	for _, tag := range []string{"", "pay", "cancel", "open", "probe", "batch", "canary"} {
		if n := set.Count(tag); n > 0 {
			out[tag] = n
		}
	}
	return out
}

// Write puts a salvage into folder, as a whole: beside it, flushed to the disk, then renamed. A salvage of the same server that stands
// there is replaced; one of another server is kept, under the folder's name with the beginning of that server's UUID.
func Write(folder string, m Manifest, rows Rows) (Manifest, error) {
	part := folder + ".part"
	if err := os.RemoveAll(part); err != nil {
		return m, fmt.Errorf("write salvage: %w", err)
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return m, fmt.Errorf("write salvage: %w", err)
	}
	m.Schema, m.Files = 1, map[string]File{}
	for name, put := range map[string]func() (File, error){
		PaymentsFile:     func() (File, error) { return lines(part, PaymentsFile, rows.Payments) },
		EntriesFile:      func() (File, error) { return lines(part, EntriesFile, rows.Entries) },
		RefundsFile:      func() (File, error) { return lines(part, RefundsFile, rows.Refunds) },
		TransactionsFile: func() (File, error) { return lines(part, TransactionsFile, rows.Transactions) },
		EventsFile:       func() (File, error) { return lines(part, EventsFile, rows.Events) },
	} {
		f, err := put()
		if err != nil {
			return m, fmt.Errorf("write salvage: %w", err)
		}
		m.Files[name] = f
	}
	return m, finish(folder, part, m)
}

// AddEvents puts events into a salvage that was taken without them, with its other files as they are. Like Write it appears as a whole.
func AddEvents(folder string, m Manifest, events []history.EventRow) (Manifest, error) {
	part := folder + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return m, fmt.Errorf("add to the salvage: %w", err)
	}
	m.Files = maps.Clone(m.Files)
	for name := range m.Files {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = flushed(filepath.Join(part, name), b)
		}
		if err != nil {
			return m, fmt.Errorf("add to the salvage: %w", err)
		}
	}
	f, err := lines(part, EventsFile, events)
	if err != nil {
		return m, fmt.Errorf("add to the salvage: %w", err)
	}
	m.Files[EventsFile] = f
	return m, finish(folder, part, m)
}

// finish writes the manifest into part, and puts part in folder's place.
func finish(folder, part string, m Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = flushed(filepath.Join(part, ManifestFile), append(b, '\n'))
	}
	if err == nil {
		err = aside(folder, m.UUID)
	}
	if err == nil {
		err = os.Rename(part, folder)
	}
	if err != nil {
		return fmt.Errorf("write salvage: %w", err)
	}
	return sync(filepath.Dir(folder))
}

// aside makes room: what stands in folder is removed if it is of the same server, and kept under another name if not.
func aside(folder, uuid string) error {
	old, err := Read(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.RemoveAll(folder) // nothing, or something without a manifest
	case err == nil && old.UUID != uuid:
		return os.Rename(folder, folder+"."+old.UUID[:min(8, len(old.UUID))])
	}
	return os.RemoveAll(folder)
}

// Read reads a salvage back, and holds every file against its manifest.
func Read(folder string) (Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(filepath.Join(folder, ManifestFile))
	if err != nil {
		return m, fmt.Errorf("read salvage: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read salvage %s: %w", folder, err)
	}
	for _, name := range []string{PaymentsFile, EntriesFile, RefundsFile, TransactionsFile, EventsFile} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return m, fmt.Errorf("read salvage: %w", err)
		}
		if got := (File{bytes.Count(b, []byte("\n")), sum(b)}); got != m.Files[name] {
			return m, fmt.Errorf("read salvage %s: %s has %d rows with sha256 %.12s, its manifest says %d with %.12s",
				folder, name, got.Rows, got.SHA256, m.Files[name].Rows, m.Files[name].SHA256)
		}
	}
	return m, nil
}

// lines writes rows, one JSON value a line.
func lines[T any](folder, name string, rows []T) (File, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return File{}, err
		}
	}
	return File{len(rows), sum(b.Bytes())}, flushed(filepath.Join(folder, name), b.Bytes())
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// flushed writes a file that is on the disk when it returns.
func flushed(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync flushes a folder's own entries.
func sync(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("write salvage: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write salvage: %w", err)
	}
	return nil
}
