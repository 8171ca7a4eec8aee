package reconcile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kirikae/kirikae/payment"
)

// row is one line of a salvage file: a payment's row as the lost region held it. Other fields are not read.
type row struct {
	Key   string        `json:"key"`
	From  int           `json:"from"`
	To    int           `json:"to"`
	Yen   int64         `json:"yen"`
	State payment.State `json:"state"`
	Epoch int64         `json:"epoch"`
	Site  string        `json:"site"`
	Node  string        `json:"node"`
}

// ReadSalvage reads the rows of a lost region that were not replicated: one JSON object a line, with key, from, to, yen and state.
// A row that cannot be a payment, and two of one key that differ, are errors: nothing is replayed from such a file.
func ReadSalvage(path string) (map[string]payment.Payment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read salvage: %w", err)
	}
	defer f.Close()
	out := map[string]payment.Payment{}
	d := json.NewDecoder(bufio.NewReader(f))
	for n := 1; ; n++ {
		var r row
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("read salvage %s, row %d: %w", path, n, err)
		}
		p := payment.Payment{Key: r.Key, From: r.From, To: r.To, Yen: r.Yen, State: r.State, Epoch: r.Epoch, Site: r.Site, Node: r.Node}
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("read salvage %s, row %d: %w", path, n, err)
		}
		switch p.State {
		case payment.Pending, payment.Done, payment.Cancelled:
		default:
			return nil, fmt.Errorf("read salvage %s, row %d: state %q is not known", path, n, p.State)
		}
		if was, ok := out[p.Key]; ok && was != p {
			return nil, fmt.Errorf("read salvage %s, row %d: payment %s stands there twice, with different rows", path, n, p.Key)
		}
		out[p.Key] = p
	}
}
