package historytest

import (
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// journal writes the operator's: the nine rows of article 002's table, two of them calls of a lower procedure.
func (m *model) journal() {
	const who, pid = "operator", 4242
	digest := "5f2c1a"
	steps := []struct {
		step, title, verb string
		from, until       time.Duration
		manual            bool
	}{
		{"1", "Cassandra の通信を拒否する / deny Cassandra traffic", "network.deny", 10 * time.Millisecond, 200 * time.Millisecond, false},
		{"2", "MySQL をレプリケーションから離脱させる / leave the replication", "mysql.detach", 200 * time.Millisecond, 900 * time.Millisecond, false},
		{"3", "MySQL を書き込み可能にする / become writable", "mysql.promote", 900 * time.Millisecond, 1200 * time.Millisecond, false},
		{"4.1", "パラメータを書き換える / parameters before start", "params.put", 1200 * time.Millisecond, 1300 * time.Millisecond, false},
		{"5.1", "アプリケーションを起動する / start the application", "app.start", 1300 * time.Millisecond, 3 * time.Second, false},
		{"6.1", "バッチを有効にする / enable the batch", "batch.enable", 3 * time.Second, 3300 * time.Millisecond, false},
		{"7.1", "パラメータを書き換える / parameters after start", "params.put", 3300 * time.Millisecond, 3500 * time.Millisecond, false},
		{"8", "DNS レコードを切り替える / change the DNS records", "dns.change", 3500 * time.Millisecond, 5100 * time.Millisecond, true},
		{"9", "オンプレミスのアプリケーションを起動する / start the application on premises", "onprem.start", 5100 * time.Millisecond, 5900 * time.Millisecond, false},
	}
	entry := func(d time.Duration, e history.Entry) {
		e.T, e.Procedure, e.Digest, e.Who, e.PID = m.at(Procedure+d), "switchover", digest, who, pid
		m.run.Journal = append(m.run.Journal, e)
	}
	entry(0, history.Entry{Kind: history.EntryBegin, Attempt: 1})
	checks := map[string]any{}
	for _, s := range steps {
		checks[s.step] = map[string]any{"ready": true}
	}
	entry(5*time.Millisecond, history.Entry{Kind: history.EntryNote, Saw: map[string]any{"checks": checks}})
	for _, s := range steps {
		e := history.Entry{Step: s.step, Title: s.title, Verb: s.verb, Attempt: 1, Manual: s.manual}
		e.Kind, e.Budget = history.EntryIntent, history.Duration(time.Minute)
		if s.manual {
			e.Kind = history.EntryWait
		}
		entry(s.from, e)
		e.Budget = 0
		if !s.manual {
			e.Kind = history.EntryAct
			entry(s.until-20*time.Millisecond, e)
		}
		e.Kind, e.Saw = history.EntryConfirm, map[string]any{"holds": true}
		entry(s.until, e)
	}
	entry(After-Procedure, history.Entry{Kind: history.EntryEnd})
}
