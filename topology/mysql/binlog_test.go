package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

const uuid = "8bfd2a30-e5c4-11f1-9fd9-02fc00000001"

// gtid is the event that begins a transaction, as MySQL 9.7 lists it.
func gtid(id string) [2]string {
	kind := "Gtid"
	if strings.Count(id, ":") == 2 {
		kind = "Gtid_tagged"
	}
	return [2]string{kind, "SET @@SESSION.GTID_NEXT= '" + id + "'"}
}

func rowsQuery(q string) [2]string { return [2]string{"Rows_query", "# " + q} }

var (
	begin  = [2]string{"Query", "BEGIN"}
	table  = [2]string{"Table_map", "table_id: 120 (pay.payments)"}
	update = [2]string{"Update_rows", "table_id: 120 flags: STMT_END_F"}
	xid    = [2]string{"Xid", "COMMIT /* xid=811 */"}
	rotate = [2]string{"Rotate", "binlog.000002;pos=4"}
)

func TestParser(t *testing.T) {
	g := uuid + ":pay:"
	for _, c := range []struct {
		name   string
		events [][2]string
		want   []history.Transaction
		fails  string
	}{
		{"nothing", nil, nil, ""},
		{"a payment", [][2]string{gtid(g + "5"), begin, rowsQuery("UPDATE accounts SET balance=1"), table, update,
			rowsQuery("UPDATE payments SET state='DONE' /* pay:k-1 */"), table, update, xid}, []history.Transaction{{GTID: g + "5", Key: "k-1"}}, ""},
		{"comment before the statement", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:A.b:c_d-9 */ UPDATE x"), xid}, []history.Transaction{{GTID: g + "1", Key: "A.b:c_d-9"}}, ""},
		{"named twice alike", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:k */ A"), rowsQuery("/* pay:k */ B"), xid}, []history.Transaction{{GTID: g + "1", Key: "k"}}, ""},
		{"named twice otherwise", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:k */ A"), rowsQuery("/* pay:l */ B"), xid}, nil, "names two payments, k and l"},
		{"other tag", [][2]string{gtid(uuid + ":open:1"), begin, rowsQuery("INSERT /* pay:k */"), xid}, nil, ""},
		{"no tag", [][2]string{gtid(uuid + ":7"), begin, rowsQuery("INSERT /* pay:k */"), xid}, nil, ""},
		{"no comment", [][2]string{gtid(g + "1"), begin, rowsQuery("UPDATE payments"), xid}, []history.Transaction{{GTID: g + "1"}}, ""},
		{"empty comment", [][2]string{gtid(g + "1"), begin, rowsQuery("UPDATE /* pay: */"), xid}, []history.Transaction{{GTID: g + "1"}}, ""},
		{"the log ends inside", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:k */ A")}, nil, ""},
		{"schema changes have no end event", [][2]string{gtid(uuid + ":1"), {"Query", "use `pay`; CREATE TABLE t (id INT)"}, gtid(g + "1"), begin, rowsQuery("/* pay:k */ A"), xid}, []history.Transaction{{GTID: g + "1", Key: "k"}}, ""},
		{"ended by a statement", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:k */ A"), {"Query", "COMMIT"}}, []history.Transaction{{GTID: g + "1", Key: "k"}}, ""},
		{"over two logs", [][2]string{gtid(g + "1"), begin, rowsQuery("/* pay:k */ A"), xid, rotate, {"Format_desc", "Server ver: 9.7.4"}, {"Previous_gtids", g + "1"},
			gtid(g + "2"), begin, rowsQuery("/* pay:l */ B"), xid}, []history.Transaction{{GTID: g + "1", Key: "k"}, {GTID: g + "2", Key: "l"}}, ""},
		{"broken", [][2]string{{"Gtid", "SET nothing"}}, nil, "no GTID in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p parser
			var err error
			for _, e := range c.events {
				if err = p.event(e[0], e[1]); err != nil {
					break
				}
			}
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want %q", err, c.fails)
				}
				return
			}
			if err != nil || !slices.Equal(p.found, c.want) {
				t.Errorf("found %v %v, want %v", p.found, err, c.want)
			}
		})
	}
}
