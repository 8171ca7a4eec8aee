package cassandra

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// agent answers as Jolokia does, by "operation or attribute".
func agent(t *testing.T, answers map[string][]string) (*JMX, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Type      string `json:"type"`
			Bean      string `json:"mbean"`
			Operation string `json:"operation"`
			Attribute any    `json:"attribute"`
			Arguments []any  `json:"arguments"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Errorf("read the question: %v", err)
		}
		name, _, _ := strings.Cut(q.Operation, "(")
		if q.Type == "read" {
			name, _ = q.Attribute.(string)
		}
		asked = append(asked, name)
		list := answers[name]
		if len(list) == 0 {
			_, _ = w.Write([]byte(`{"status":404,"error_type":"javax.management.AttributeNotFoundException","error":"javax.management.AttributeNotFoundException : No such attribute: ` + name + `"}`))
			return
		}
		if len(list) > 1 {
			answers[name] = list[1:]
		}
		_, _ = w.Write([]byte(list[0]))
	}))
	t.Cleanup(s.Close)
	j := OpenJMX("osaka-1", strings.TrimPrefix(s.URL, "http://"))
	t.Cleanup(j.Close)
	return j, &asked
}

func TestJMX(t *testing.T) {
	j, _ := agent(t, map[string][]string{
		"OperationMode": {`{"status":200,"value":"NORMAL"}`},
		"drain":         {`{"status":200,"value":null}`},
		"removeNode":    {`{"status":500,"error_type":"java.lang.UnsupportedOperationException","error":"java.lang.UnsupportedOperationException : This node is already processing a removal. Wait for it to complete"}`},
		"rebuild":       {`{"status":500,"error_type":"java.lang.IllegalStateException","error":"java.lang.IllegalStateException : Node is still rebuilding. Check nodetool netstats."}`},
		"RemovalStatus": {"not JSON"},
	})
	if mode, err := j.Mode(t.Context()); err != nil || mode != "NORMAL" {
		t.Errorf("mode %q, %v", mode, err)
	}
	if err := j.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := j.RemoveNode(t.Context(), "h"); !Removing(err) || Rebuilding(err) {
		t.Errorf("a removal under way: %v", err)
	}
	if err := j.Rebuild(t.Context(), "osaka", "pay"); !Rebuilding(err) || Removing(err) {
		t.Errorf("a rebuild under way: %v", err)
	}
	if _, err := j.RemovalStatus(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer of the agent") {
		t.Errorf("something else than the agent: %v", err)
	}
	var refusal *JMXError
	if err := j.Assassinate(t.Context(), "127.0.0.1"); !errors.As(err, &refusal) || refusal.Type == "" || !strings.Contains(err.Error(), "osaka-1") {
		t.Errorf("what is not there: %v", err)
	}
}

// TestJMXErrors tells what was sent from what was not.
func TestJMXErrors(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	address := strings.TrimPrefix(closed.URL, "http://")
	stuck := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(stuck)
	closed.Close()
	if err := OpenJMX("x", address).Drain(t.Context()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := OpenJMX("x", strings.TrimPrefix(s.URL, "http://")).Drain(ctx); !errors.Is(err, topology.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestRemove: a removal that somebody began who is gone is waited for, and one that is done is not made again.
func TestRemove(t *testing.T) {
	there := `{"status":200,"value":{"127.1.1.1":"h1","127.1.2.1":"h2"}}`
	gone := `{"status":200,"value":{"127.1.2.1":"h2"}}`
	under := `{"status":500,"error_type":"E","error":"E : This node is already processing a removal."}`
	for _, c := range []struct {
		name    string
		hosts   []string
		remove  []string
		removes int
		err     string
	}{
		{"removed", []string{there, gone}, []string{`{"status":200,"value":null}`}, 1, ""},
		{"out already", []string{gone}, nil, 0, ""},
		{"under way", []string{there, there, gone}, []string{under}, 2, ""},
		{"alive", []string{there}, []string{`{"status":500,"error_type":"E","error":"E : Node /127.1.1.1 is alive and owns this ID."}`}, 1, "is alive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, asked := agent(t, map[string][]string{"EndpointToHostId": c.hosts, "removeNode": c.remove, "RemovalStatus": {`{"status":200,"value":"Removing token"}`}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := Remove(ctx, NodeAt{Name: "osaka-1", JMX: strings.TrimSuffix(strings.TrimPrefix(j.url, "http://"), "/jolokia/")}, "h1")
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			removes := 0
			for _, a := range *asked {
				if a == "removeNode" {
					removes++
				}
			}
			if removes != c.removes {
				t.Errorf("asked %d times, want %d: %v", removes, c.removes, *asked)
			}
		})
	}
}

func TestParseGossip(t *testing.T) {
	got := parseGossip(`/127.1.1.1
  generation:1763762000
  heartbeat:9
  STATUS:31:removed,4b1c,1764021200123
  DC:8:tokyo
  HOST_ID:4:4b1c
  TOKENS:1:<hidden>
localhost/127.1.2.1:7000
  generation:1763762001
  heartbeat:400
  STATUS_WITH_PORT:20:NORMAL,-9223372036854775608
  DC:8:osaka
  HOST_ID:4:77aa
/127.1.1.2
  STATUS_WITH_PORT:31:LEFT,-1,1764021200123
`)
	if g := got["127.1.1.1"]; g.dc != "tokyo" || g.host != "4b1c" || g.removed != "4b1c" || g.forgets.UnixMilli() != 1764021200123 {
		t.Errorf("removed: %+v", g)
	}
	if g := got["127.1.2.1"]; g.dc != "osaka" || g.host != "77aa" || !g.forgets.IsZero() {
		t.Errorf("normal: %+v", g)
	}
	if g := got["127.1.1.2"]; g.removed != "" || g.forgets.IsZero() {
		t.Errorf("assassinated: %+v", g)
	}
	if len(got) != 3 {
		t.Errorf("%d nodes", len(got))
	}
}

func TestKeyspaces(t *testing.T) {
	for _, c := range []struct {
		in   map[string]string
		want string
	}{
		{map[string]string{"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "tokyo": "3", "osaka": "2"}, "map[osaka:2 tokyo:3]"},
		{map[string]string{"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}, "map[:1]"},
		{map[string]string{"class": "org.apache.cassandra.locator.LocalStrategy"}, ""},
	} {
		got := factors(c.in)
		if text := mapText(got); text != c.want {
			t.Errorf("%v: %s, want %s", c.in, text, c.want)
		}
	}
	if got, want := alterKeyspace("pay", map[string]int{"tokyo": 1, "osaka": 2}),
		`ALTER KEYSPACE "pay" WITH replication = {'class': 'NetworkTopologyStrategy', 'osaka': 2, 'tokyo': 1}`; got != want {
		t.Errorf("%s", got)
	}
}

func mapText(m map[string]int) string {
	if m == nil {
		return ""
	}
	b, _ := json.Marshal(m)
	return "map[" + strings.NewReplacer(`{`, "", `}`, "", `"`, "", ",", " ").Replace(string(b)) + "]"
}

func TestAgainst(t *testing.T) {
	content := func(rows map[string]string) Content {
		return Content{Tables: map[string]map[string]string{"t": rows}}
	}
	before := content(map[string]string{"a": "1", "b": "1", "c": "1", "gone": "1"})
	after := content(map[string]string{"a": "1", "b": "2", "c": "1", "new": "1"})
	for _, c := range []struct {
		name string
		copy map[string]string
		want string
	}{
		{"equal", map[string]string{"a": "1", "b": "1", "c": "1"}, "none"},
		{"what moved meanwhile decides nothing", map[string]string{"a": "1", "b": "x", "c": "1", "gone": "1", "new": "1"}, "none"},
		{"empty", nil, "3 missing: t/a t/b t/c"},
		{"one that nobody has", map[string]string{"a": "1", "b": "1", "c": "1", "zombie": "1"}, "1 extra: t/zombie"},
		{"another value", map[string]string{"a": "7", "b": "1", "c": "1"}, "1 different: t/a"},
	} {
		if got := content(c.copy).Against(before, after).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
