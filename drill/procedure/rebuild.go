package procedure

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Ways to rebuild a database.
const (
	byClone = "clone"
	byDump  = "dump"
)

// Keys of what the rebuilding verbs journal. Judges read them (drill/check, "salvage").
const (
	sawWiped     = "wiped"                 // server UUID of the data that were thrown away
	sawWipedSet  = "wiped_executed"        // what that server had executed
	sawServing   = "serving"               // what the serving one had executed at that moment
	sawSalvaged  = "salvaged"              // what the salvage holds of the difference; "none" where there was none
	sawSavedPay  = "salvaged_transactions" // how many of the pay transactions are in the salvage's file
	sawSavedRows = "salvaged_payments"     // and how many payments' rows
	sawErrant    = "errant"                // transactions that a server has and its source lacks
)

// rebuildVerbs are the verbs about salvaging a returned database, and rebuilding it from the one that serves.
func rebuildVerbs(e Estate, region func(name, says string) Input) Verbs {
	whose, serving := region("region", "Whose database"), region("from", "The region that serves")
	variant := Input{Name: "variant", Kind: Text, Of: []string{byClone, byDump}, Default: byClone, Says: "clone: physically, by CLONE INSTANCE; dump: a logical copy, as mysqldump makes it"}
	pairOf := func(in Values) (pair, error) {
		if in.site("region") == in.site("from") {
			return pair{}, &InputError{"from", fmt.Errorf("from is %s itself", in.site("region"))}
		}
		return pair{e, in.site("region"), in.site("from")}, nil
	}
	bind := func(make func(pair, Values) runbook.Action) func(Values) (runbook.Action, error) {
		return func(in Values) (runbook.Action, error) {
			p, err := pairOf(in)
			if err != nil {
				return nil, err
			}
			return make(p, in), nil
		}
	}
	return Verbs{
		"mysql.salvage": {
			Says:   "Stops all writes in a returned region's MySQL, and saves what it alone has into the run folder: its rows, its pay transactions, its journal events.",
			Inputs: []Input{whose, serving},
			Bind:   bind(func(p pair, _ Values) runbook.Action { return save{p} }),
		},
		"mysql.wipe": {
			Says: "Throws a returned region's MySQL data away and starts it empty. Refused unless exactly these data were salvaged.",
			Inputs: []Input{whose, serving,
				{Name: "salvaged", Kind: Truth, Default: true, Says: "Refuse to throw away what was not salvaged. Only drills that plant this say false"}},
			Bind: bind(func(p pair, in Values) runbook.Action { return wipe{p, in.truth("salvaged")} }),
		},
		"mysql.copy": {
			Says:   "Fills a region's empty MySQL with the data of the serving one, with their GTID position, read-only for every restart.",
			Inputs: []Input{whose, serving, variant},
			Bind:   bind(func(p pair, in Values) runbook.Action { return fill{p, in.text("variant")} }),
		},
		"mysql.rejoin": {
			Says: "Makes a region's MySQL follow the serving one by GTID, read-only for every restart. Refused while it has transactions that the other lacks.",
			Inputs: []Input{whose, serving,
				{Name: "errant", Kind: Truth, Default: false, Says: "Let it follow although it has transactions of its own: MySQL does not mind, and the data differ from then on. Only drills that plant this say true"}},
			Bind: bind(func(p pair, in Values) runbook.Action { return rejoin{p, in.truth("errant")} }),
		},
		"mysql.rebuild": {
			Says:   "Rebuilds a returned region's MySQL from the serving one, all of it: salvage, empty, open its access list, copy, follow.",
			Inputs: []Input{whose, serving, variant},
			Bind:   bind(func(p pair, in Values) runbook.Action { return rebuild{p, in.text("variant")} }),
		},
	}
}

// rebuild is article 002's row 1 of the preparation in one act (グローバルデータベース構成の作成): everything that the finer verbs do, in the
// only order that loses nothing. A server's UUID stays with its data and a salvage names it, so that whoever does it again sees how
// far it got.
type rebuild struct {
	pair
	variant string
}

// Check refuses the variant that this world cannot carry out.
func (r rebuild) Check(ctx context.Context) (runbook.Seen, error) { return r.fillable(ctx, r.variant) }

func (r rebuild) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw := runbook.Seen{}
	for _, part := range []struct {
		name string
		do   interface {
			Act(context.Context, runbook.Notes) (runbook.Seen, error)
		}
	}{
		{"salvage", save{r.pair}},
		{"wipe", wipe{r.pair, true}},
		{"access", allow{deny{r.estate, r.region, r.from, topology.ServiceMySQL}}},
		{"copy", fill{r.pair, r.variant}},
		{"rejoin", rejoin{r.pair, false}},
	} {
		did, err := part.do.Act(ctx, notes)
		saw[part.name] = did
		if err != nil {
			return saw, err
		}
	}
	return saw, nil
}

// Confirm: what the old server alone had is saved, the server is another one, and it is a whole replica of the serving one.
func (r rebuild) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw := runbook.Seen{}
	for _, part := range []struct {
		name string
		do   interface {
			Confirm(context.Context, runbook.Notes) (runbook.Seen, error)
		}
	}{
		{"salvage", save{r.pair}},
		{"wipe", wipe{r.pair, true}},
		{"access", allow{deny{r.estate, r.region, r.from, topology.ServiceMySQL}}},
		{"rejoin", rejoin{r.pair, false}},
	} {
		found, err := part.do.Confirm(ctx, notes)
		saw[part.name] = found
		if err != nil {
			return saw, err
		}
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (r rebuild) Would(ctx context.Context) (string, error) {
	would, err := save{r.pair}.Would(ctx)
	return would + "; throw its data away; " + fmt.Sprintf("rebuild it from %s by %s and let it follow", r.from, r.variant), err
}
