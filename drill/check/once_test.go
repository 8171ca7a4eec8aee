package check

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

func TestActsOnce(t *testing.T) {
	mark := func(at int, kind, name string, data any) history.Mark {
		b, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return history.Mark{T: history.Instant(at), Kind: kind, Name: name, Data: b}
	}
	death := func(at int, point string) history.Mark {
		return mark(at, history.KindDeath, "3", history.DeathData{Procedure: "switchover", Point: point})
	}
	entry := func(at int, kind, verb string) history.Entry {
		return history.Entry{T: history.Instant(at), Kind: kind, Step: "3", Verb: verb}
	}
	other := func(at int, kind string) history.Entry {
		return history.Entry{T: history.Instant(at), Kind: kind, Procedure: "failback", Step: "3", Verb: "mysql.promote"}
	}
	begin := func(at int) history.Entry {
		return history.Entry{T: history.Instant(at), Kind: history.EntryBegin, Procedure: "switchover", Digest: "d"}
	}
	reign := func(at int, site string, epoch int64) history.Mark {
		return mark(at, history.KindReign, site, history.ReignData{Site: site, Epoch: epoch})
	}
	dns := func(at int) history.Mark {
		return mark(at, history.KindPerson, "dns", history.PersonData{Records: []string{"pay."}})
	}
	for _, c := range []struct {
		name    string
		marks   []history.Mark
		journal []history.Entry
		want    Verdict
		says    string
	}{
		{"nobody came to it again", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote")}, Inconclusive, "came to: 0 of at least 1"},
		{"only another procedure has a step of that number", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), other(7, "already")}, Inconclusive, "came to: 0 of at least 1"},
		{"another procedure's step of that number is announced for the first time", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "already", "mysql.promote"), other(8, "intent")}, Pass, "1 of them with an act"},
		{"one of two was come to again", []history.Mark{death(5, "after-act"), death(8, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "already", "mysql.promote")}, Inconclusive, "came to: 1 of at least 2"},
		{"acted again, after it had asked for another approval", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "ask", "mysql.promote"), entry(8, "intent", "mysql.promote")}, Fail, "applied twice"},
		{"acted again, after it had failed", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "retry", "mysql.promote"), entry(8, "intent", "mysql.promote")}, Fail, "applied twice"},
		{"found to be done, after it had asked for another approval", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "ask", "mysql.promote"), entry(8, "already", "mysql.promote")}, Pass, "1 of them with an act"},
		{"a person passed it over", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "skip", "mysql.promote")}, Pass, "0 of them"},
		{"a replica that is still connecting", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.follow"), begin(6), entry(7, "intent", "mysql.follow")}, Pass, "0 of them"},
		{"late writes are still on their way", []history.Mark{death(5, "after-record")}, []history.Entry{begin(1), entry(2, "act", "cassandra.rebuild"), begin(6), entry(7, "intent", "cassandra.rebuild")}, Pass, "0 of them"},
		{"a guard that has not renewed yet", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "lease.pass"), begin(6), entry(7, "intent", "lease.pass")}, Pass, "0 of them"},
		{"nodes that do not agree on the keyspaces yet", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "ring.include"), begin(6), entry(7, "intent", "ring.include")}, Pass, "0 of them"},
		{"a transaction that is still open", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.fence"), begin(6), entry(7, "intent", "mysql.fence")}, Pass, "0 of them"},
		{"nobody was killed", nil, nil, Inconclusive, "operators killed"},
		{"confirmed by the next", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "already", "mysql.promote")}, Pass, "1 of them with an act"},
		{"acted again", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "intent", "mysql.promote")}, Fail, "applied twice"},
		{"acted again after the record", []history.Mark{death(5, "after-record")}, []history.Entry{begin(1), entry(2, "act", "mysql.detach"), begin(6), entry(7, "intent", "mysql.detach")}, Fail, "applied twice"},
		{"nothing had been done yet", []history.Mark{death(5, "after-intent")}, []history.Entry{begin(1), entry(2, "intent", "mysql.promote"), begin(6), entry(7, "intent", "mysql.promote")}, Pass, "0 of them"},
		{"a process that is still starting", []history.Mark{death(5, "after-act")}, []history.Entry{begin(1), entry(2, "intent", "app.start"), begin(6), entry(7, "intent", "app.start")}, Pass, "0 of them"},
		{"promoted twice", []history.Mark{death(1, "after-intent"), reign(2, "tokyo", 1), reign(3, "osaka", 2), reign(4, "osaka", 3)}, nil, Fail, "applied twice"},
		{"there and back", []history.Mark{death(1, "after-intent"), reign(2, "tokyo", 1), reign(3, "osaka", 2), reign(4, "tokyo", 3)}, nil, Pass, ""},
		{"pointed twice", []history.Mark{death(1, "after-intent"), dns(2), dns(3)}, []history.Entry{begin(1), entry(4, "end", "")}, Fail, "applied twice"},
		{"pointed once", []history.Mark{death(1, "after-intent"), dns(2)}, []history.Entry{begin(1), entry(4, "end", "")}, Pass, ""},
	} {
		run := &history.Run{Meta: history.Meta{Active: "tokyo", Standby: "osaka"}, Marks: c.marks, Journal: c.journal}
		r := ActsOnce(run)
		text := r.Says
		for _, e := range r.Evidence {
			text += " " + e.Name
		}
		text += strings.Join(r.Missing, " ")
		if r.Verdict() != c.want || !strings.Contains(text, c.says) {
			t.Errorf("%s: %s: %s", c.name, r.Verdict(), text)
		}
	}
}
