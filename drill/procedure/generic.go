package procedure

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

func siteOf(s string) topology.Site { return topology.Site(s) }
func kindOf(s string) topology.Kind { return topology.Kind(s) }

// generic are the verbs that belong to no procedure of the article: with them a team writes its own.
func generic(e Estate, region func(name, says string) Input) Verbs {
	asked := func(in Values, language string, server func(topology.Site) (any, error), words ...string) (Reader, error) {
		statement := strings.TrimSpace(in.text("query"))
		first, _, _ := strings.Cut(strings.ToUpper(strings.Join(strings.Fields(statement), " ")), " ")
		known := false
		for _, w := range words {
			known = known || first == w
		}
		if !known || strings.Contains(statement, ";") {
			return nil, &InputError{"query", fmt.Errorf("a read in %s is one statement that begins with %s, without a semicolon", language, strings.Join(words, " or "))}
		}
		site := in.site("region")
		return query{func() (any, error) { return server(site) }, fmt.Sprintf("%s of %s", language, site), statement, in.text("expect")}, nil
	}
	statement := Input{Name: "query", Kind: Text, Says: "One statement that reads one value"}
	expect := Input{Name: "expect", Kind: Plain, Says: "What the value must be, compared as a text"}
	return Verbs{
		"exec": {
			Says: "Runs a script of the team's own by /bin/sh in the run folder, with env as environment. As an act it must be harmless to repeat; as a check or confirm it only reads, and holds when it ends with exit code 0.",
			Inputs: []Input{
				{Name: "script", Kind: Text, Says: "What to run: a block of text (|), in which $ is the shell's"},
				{Name: "env", Kind: Table, Default: map[string]any{}, Says: "Its inputs, by name"},
				{Name: "limit", Kind: Time, Default: "5s", Says: "Longest time that it may take; then it is killed with all that it has started"},
			},
			Bind:     func(in Values) (runbook.Action, error) { return bindScript(e, in) },
			Read:     func(in Values) (Reader, error) { return bindScript(e, in) },
			Unproved: true,
		},
		"wait": {
			Says:     "Does nothing: waits until the confirm holds, for a state or, in a manual step, for a person.",
			Bind:     func(Values) (runbook.Action, error) { return idle{}, nil },
			Unproved: true,
		},
		"sql": {
			Says:   "Reads one value from a region's MySQL, in a transaction that only reads.",
			Inputs: []Input{region("region", "Whose database"), statement, expect},
			Read: func(in Values) (Reader, error) {
				return asked(in, "mysql", func(s topology.Site) (any, error) { return e.Database(s) }, "SELECT", "SHOW", "WITH")
			},
		},
		"cql": {
			Says:   "Reads one value from a region's Cassandra, at LOCAL_QUORUM.",
			Inputs: []Input{region("region", "Whose Cassandra"), statement, expect},
			Read: func(in Values) (Reader, error) {
				return asked(in, "cassandra", func(s topology.Site) (any, error) { return e.Ring(s) }, "SELECT")
			},
		},
		"http": {
			Says: "Asks every node of a kind in a region for a path by HTTP GET.",
			Inputs: []Input{
				region("region", "Where"),
				{Name: "nodes", Kind: Text, Of: []string{string(topology.Gateway), string(topology.App), string(topology.Batch), string(topology.Params)}, Says: "Which nodes"},
				{Name: "path", Kind: Text, Says: "What is asked for, from the / on"},
				{Name: "status", Kind: Number, Default: int64(200), Says: "Status that each must answer"},
				{Name: "contains", Kind: Plain, Default: "", Says: "Text that each answer must contain"},
			},
			Read: func(in Values) (Reader, error) {
				if !strings.HasPrefix(in.text("path"), "/") {
					return nil, &InputError{"path", errors.New("a path begins with /")}
				}
				if s := in.number("status"); s < 100 || s > 599 {
					return nil, &InputError{"status", fmt.Errorf("there is no HTTP status %d", s)}
				}
				return get{e, in.text("region"), in.text("nodes"), in.text("path"), in.number("status"), in.text("contains")}, nil
			},
		},
	}
}

// Read implements Reader: a plan that is only printed reads nothing.
func (unattached) Read(context.Context) (runbook.Seen, error) { return nil, errUnattached }
