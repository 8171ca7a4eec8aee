package procedure

import (
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// ringVerbs are the verbs about regions leaving and joining the Cassandra ring.
func ringVerbs(e Estate, region func(name, says string) Input) Verbs {
	two := func(in Values, other string) error {
		if in.site("region") == in.site(other) {
			return &InputError{other, fmt.Errorf("%s is %s itself", other, in.site("region"))}
		}
		return nil
	}
	return Verbs{
		"ring.exclude": {
			Says:   "Takes a region that is cut off out of the Cassandra cluster: first out of every keyspace, then its nodes out of the ring.",
			Inputs: []Input{region("region", "The one that leaves"), region("by", "The one that stays, and is asked")},
			Bind: func(in Values) (runbook.Action, error) {
				return exclude{e, in.site("region"), in.site("by")}, two(in, "by")
			},
		},
		"cassandra.stop": {
			Says:   "Drains and stops a region's Cassandra nodes.",
			Inputs: []Input{region("region", "Whose nodes")},
			Bind:   func(in Values) (runbook.Action, error) { return stopRing{e, in.site("region")}, nil },
		},
		"access.allow": {
			Says: "Allows the traffic of one service between two regions again, both ways, and sees it arrive at every node that runs.",
			Inputs: []Input{
				region("region", "The one that goes on working"),
				region("peer", "The one it was cut from"),
				{Name: "service", Kind: Text, Of: []string{string(topology.ServiceCassandra), string(topology.ServiceMySQL)}, Says: "What the links carry"},
				{Name: "beside_old", Kind: Truth, Default: false, Says: "Open for Cassandra although nodes of the peer run that are not in the region's ring. Their hints would arrive: only drills that plant this say true"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				d := deny{e, in.site("region"), in.site("peer"), topology.Service(in.text("service"))}
				return reopen{allow{d}, in.truth("beside_old")}, two(in, "peer")
			},
		},
		"cassandra.empty": {
			Says: "Gives a region's stopped Cassandra nodes empty volumes, and waits until the ring has forgotten the old ones (twice its delay since they were removed).",
			Inputs: []Input{
				region("region", "Whose nodes"),
				region("by", "The region that took them out of the ring"),
				{Name: "unsalvaged", Kind: Truth, Default: false, Says: "Throw the old data away although the salvage of the region says that its journal could not be read: for nodes beyond repair"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				return empty{e, in.site("region"), in.site("by"), in.truth("unsalvaged")}, two(in, "by")
			},
		},
		"cassandra.start": {
			Says: "Starts a region's Cassandra nodes, until every node of both regions sees them up.",
			Inputs: []Input{
				region("region", "Whose nodes"),
				region("by", "The region whose ring they join"),
				{Name: "fresh", Kind: Truth, Default: true, Says: "They must be other nodes than those that were removed. Only drills that plant old volumes say false"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				return join{e, in.site("region"), in.site("by"), in.truth("fresh")}, two(in, "by")
			},
		},
		"ring.include": {
			Says:   "Puts a region that is in the ring back into every keyspace: from here on it gets what is written.",
			Inputs: []Input{region("region", "The one that comes back"), region("by", "The one that is asked")},
			Bind: func(in Values) (runbook.Action, error) {
				return include{e, in.site("region"), in.site("by")}, two(in, "by")
			},
		},
		"cassandra.rebuild": {
			Says:   "Streams a region's data from another one into its nodes, until every node holds the same.",
			Inputs: []Input{region("region", "Whose nodes"), region("from", "The one that has the data")},
			Bind: func(in Values) (runbook.Action, error) {
				return refill{e, in.site("region"), in.site("from")}, two(in, "from")
			},
			Read: func(in Values) (Reader, error) {
				return refill{e, in.site("region"), in.site("from")}, two(in, "from")
			},
		},
	}
}
