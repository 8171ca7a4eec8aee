package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// payTag is the GTID tag of exactly the transactions that make a payment DONE.
const payTag = "pay"

// parser joins the events of one transaction, as SHOW BINLOG EVENTS lists them: its GTID, the statements behind its rows, and
// its end.
type parser struct {
	gtid  string // of the open transaction; "" outside
	key   string // payment that its statements name
	found []history.Transaction
}

// event takes one row: its type and its info.
func (p *parser) event(kind, info string) error {
	switch {
	case strings.HasPrefix(strings.ToLower(kind), "gtid"): // Gtid, Gtid_tagged
		gtid, err := nextGTID(info)
		if err != nil {
			return err
		}
		p.gtid, p.key = gtid, ""
	case strings.EqualFold(kind, "Rows_query"):
		key, ok := commentKey(info)
		if !ok {
			return nil
		}
		if p.key != "" && p.key != key {
			return fmt.Errorf("transaction %s names two payments, %s and %s", p.gtid, p.key, key)
		}
		p.key = key
	case strings.EqualFold(kind, "Xid"), strings.EqualFold(kind, "Query") && info == "COMMIT":
		if tagOf(p.gtid) == payTag {
			p.found = append(p.found, history.Transaction{GTID: p.gtid, Key: p.key})
		}
		p.gtid, p.key = "", ""
	}
	return nil
}

// nextGTID reads "SET @@SESSION.GTID_NEXT= 'uuid:tag:n'".
func nextGTID(info string) (string, error) {
	_, rest, ok := strings.Cut(info, "GTID_NEXT=")
	if ok {
		_, rest, ok = strings.Cut(rest, "'")
	}
	if ok {
		rest, _, ok = strings.Cut(rest, "'")
	}
	if !ok || rest == "" {
		return "", errors.New("no GTID in " + info)
	}
	return rest, nil
}

// tagOf is the tag of "uuid:tag:n", "" of "uuid:n".
func tagOf(gtid string) string {
	parts := strings.Split(gtid, ":")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// commentKey finds the payment's key in a statement's comment, /* pay:KEY */.
func commentKey(statement string) (string, bool) {
	_, rest, ok := strings.Cut(statement, "/* pay:")
	if !ok {
		return "", false
	}
	key, _, ok := strings.Cut(rest, " */")
	return key, ok && key != ""
}
