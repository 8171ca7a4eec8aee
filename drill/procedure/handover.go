package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Follower is an Estate that can make the database of one region a replica of another's, through the link between them.
type Follower interface {
	// Follow makes a region's MySQL a read-only replica of another region's, also after a restart, and starts it. A server that
	// follows that source already keeps what it has received.
	Follow(ctx context.Context, region, source topology.Site) error
	// Source is the address at which a region's MySQL dials another one's, as Replication.Source shows it once it follows.
	Source(region, source topology.Site) (string, error)
}

// Comparer is an Estate that can compare the journals of two regions.
type Comparer interface {
	// CompareJournals reads every row of the journal's keyspace as each of the two regions gives it at LOCAL_QUORUM.
	CompareJournals(ctx context.Context, a, b topology.Site) (JournalsCompared, error)
}

// JournalsCompared is what a comparison of two regions' journals found.
type JournalsCompared struct {
	RowsA, RowsB int
	Differ       string // how b differs from a, in words; "" if it does not
}

// Writing is a Database that can count its open transactions.
type Writing interface {
	// Writing counts the transactions that have changed rows and have not ended yet, but for the replication's.
	Writing(ctx context.Context) (int, error)
}

// Remover is a parameter store out of which parameters can be taken.
type Remover interface {
	Remove(ctx context.Context, names []string) (version int64, err error)
}

// handoverVerbs are the verbs about handing the work from one healthy region to another.
func handoverVerbs(e Estate, region func(name, says string) Input) Verbs {
	two := func(in Values, a, b string) error {
		if in.site(a) == in.site(b) {
			return &InputError{b, fmt.Errorf("%s is %s as well", b, in.site(a))}
		}
		return nil
	}
	pair := func(make func(serving, next topology.Site) runbook.Action) func(in Values) (runbook.Action, error) {
		return func(in Values) (runbook.Action, error) {
			return make(in.site("serving"), in.site("next")), two(in, "serving", "next")
		}
	}
	serving, next := region("serving", "The one that serves before the handover"), region("next", "The one that serves after it")
	return Verbs{
		"handover.ready": {
			Says:   "Looks whether both regions are fit for a handover, and notes what it saw: the serving one is the writer, the next one follows it closely, Cassandra answers in both.",
			Inputs: []Input{serving, next, {Name: "lag", Kind: Number, Default: closely, Says: "Transactions that the next region may be behind"}},
			Bind: func(in Values) (runbook.Action, error) {
				return ready{e, in.site("serving"), in.site("next"), in.number("lag")}, two(in, "serving", "next")
			},
		},
		"params.prepare": {
			Says: "Writes parameters of the epoch to come into the store of a region that is not promoted yet, and notes what stood there before.",
			Inputs: []Input{
				region("region", "Whose parameter store"),
				{Name: "from_region", Kind: Texts, Of: fromRegion(), Says: "Parameters whose values are read from the region at that moment; epoch is the one after its promotion"},
				{Name: "values", Kind: Table, Says: "Parameters with their values"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				s, err := bindSet(e, in)
				if err != nil {
					return nil, err
				}
				set := s.(set)
				set.next = true
				return prepare{set}, nil
			},
		},
		"params.restore": {
			Says:   "Undo of params.prepare: puts back what stood in the parameter store before that step, and takes out what did not.",
			Inputs: []Input{region("region", "Whose parameter store")},
			Bind:   func(in Values) (runbook.Action, error) { return restore{e, in.site("region")}, nil },
		},
		"params.remove": {
			Says: "Takes parameters out of a region's parameter store.",
			Inputs: []Input{
				region("region", "Whose parameter store"),
				{Name: "names", Kind: Texts, Says: "Which ones"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				if len(in.texts("names")) == 0 {
					return nil, &InputError{"names", errors.New("no parameter is named")}
				}
				return remove{e, in.site("region"), in.texts("names")}, nil
			},
		},
		"app.await": {
			Says:   "Starts a region's app nodes ahead of its promotion: they work for the epoch to come, warm up, and refuse payments until then.",
			Inputs: []Input{region("region", "Where")},
			Bind:   func(in Values) (runbook.Action, error) { return await{e, in.site("region")}, nil },
		},
		"app.stop": {
			Says:   "Stops a region's app nodes in an orderly way: each ends the payments that it has begun.",
			Inputs: []Input{region("region", "Where")},
			Bind:   func(in Values) (runbook.Action, error) { return stopNodes{e, in.site("region"), topology.App}, nil },
		},
		"batch.disable": {
			Says:   "Disables the batch of a region and stops its node.",
			Inputs: []Input{region("region", "Where")},
			Bind:   func(in Values) (runbook.Action, error) { return disableBatch{e, in.site("region")}, nil },
		},
		"mysql.fence": {
			Says:   "Keeps everybody from writing in a region's MySQL, operators too, after a restart as well; proved while it is up, with nothing in flight.",
			Inputs: []Input{region("region", "Whose database")},
			Bind:   func(in Values) (runbook.Action, error) { return fence{e, in.site("region")}, nil },
		},
		"mysql.unfence": {
			Says:   "Undo of mysql.fence: lets everybody write again. Refused once the next region was promoted.",
			Inputs: []Input{serving, next},
			Bind:   pair(func(serving, next topology.Site) runbook.Action { return unfence{e, serving, next} }),
		},
		"mysql.drained": {
			Says:   "Waits until the next region's MySQL has executed every transaction of the fenced one, and notes both sets by tag: the proof that nothing is lost.",
			Inputs: []Input{serving, next},
			Bind:   pair(func(serving, next topology.Site) runbook.Action { return drained{e, serving, next} }),
		},
		"cassandra.equal": {
			Says:   "Compares every row of the journal as both regions give it, and notes how many there are. Nobody may pay meanwhile.",
			Inputs: []Input{serving, next},
			Bind:   pair(func(serving, next topology.Site) runbook.Action { return equal{e, serving, next} }),
		},
		"mysql.follow": {
			Says:   "Makes a region's MySQL the read-only replica of another's, through the link between them, and sees it receive.",
			Inputs: []Input{region("region", "Whose database"), region("source", "Which one it follows")},
			Bind: func(in Values) (runbook.Action, error) {
				return follow{e, in.site("region"), in.site("source")}, two(in, "region", "source")
			},
		},
		"dns.list": {
			Says: "Points the records that the procedure lists at a region, and no other. A list grows old: dns.point reads the zone instead.",
			Inputs: []Input{
				{Name: "records", Kind: Texts, Says: "Names inside the zone, without it"},
				region("to", "Where they shall lead"),
			},
			Bind: func(in Values) (runbook.Action, error) { return listed{e, in.texts("records"), in.site("to")}, nil },
		},
	}
}

// flipped says whether the next region was promoted already: the epoch row of its own database names it.
func flipped(ctx context.Context, e Estate, next topology.Site) (bool, error) {
	_, owner, err := epochOf(ctx, e, next)
	return owner == next, err
}

// replicationOf reads the replication of a region's MySQL.
func replicationOf(ctx context.Context, e Estate, region topology.Site) (Database, Replication, error) {
	db, err := e.Database(region)
	if err != nil {
		return nil, Replication{}, err
	}
	r, err := db.Replication(ctx)
	if err != nil {
		return nil, r, fmt.Errorf("read replication of %s: %w", region, err)
	}
	return db, r, nil
}
