package steps

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
)

// volumeSentences are the sentences about Cassandra nodes that fail together with their volumes (article 002, notes ※6 and ※8).
func volumeSentences(d *Drill) []sentence {
	return []sentence{
		{"Given", `60 records are kept in both regions`, re(`(\d+) records are kept in both regions`), d.keepRecords, promiseUpWith},
		{"When", `2 of 3 Cassandra nodes of tokyo fail one after another, lose their volumes and start again`,
			re(`(\d+) of (\d+) Cassandra nodes of (\w+) fail one after another, lose their volumes and start again`), d.loseVolumes, promiseVolumes},
		{"Then", `the volumes were lost, no link was cut, and the harness sane`, re(`the volumes were lost, no link was cut, and the harness sane`), d.faultReal, promiseCalm},
		{"Then", `every record that was kept is there`, re(`every record that was kept is there`), d.recordsGiven, nil},
	}
}

func promiseUpWith(p *promised, _ []string) error { return promiseUp(p, nil) }

// promiseVolumes: so many nodes lose their volumes, which the judges will want to see.
func promiseVolumes(p *promised, args []string) error {
	if err := promiseRegions(p, args[2:]); err != nil {
		return err
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%q is no number of nodes", args[0])
	}
	for _, r := range p.topology.Regions {
		if string(r.Name) == args[2] && (strconv.Itoa(r.Cassandra) != args[1] || n < 1 || n > r.Cassandra) {
			return fmt.Errorf("%s has %d Cassandra nodes, the sentence says %s of %s", r.Name, r.Cassandra, args[0], args[1])
		}
	}
	p.meta.Emptied += n
	return nil
}

// keepRecords writes records at EACH_QUORUM that nobody will delete.
func (d *Drill) keepRecords(ctx context.Context, kept string) error {
	slots, err := slotsFrom(keptSlot, kept)
	if err != nil {
		return err
	}
	s, err := d.estate.cassandra(ctx, d.world.Topology().Active())
	if err != nil {
		return err
	}
	if err := s.PutRecords(ctx, slots, true); err != nil {
		return err
	}
	d.records = planted{history.ReadOfKept: slots}
	d.say("records", "%s are kept in both regions", kept)
	return nil
}

func (d *Drill) recordsGiven() error { return d.passed(check.NameLocalReads) }

// loseVolumes lets nodes of a region fail one after another, each once the one before it takes part again and has the writes that it
// missed. A planted record is read at the node alone before and after: nobody reads at a quorum in between, which would repair what
// is missing.
func (d *Drill) loseVolumes(ctx context.Context, of, _, site string) error {
	n, err := strconv.Atoi(of)
	if err != nil {
		return usagef("%q is no number of nodes", of)
	}
	slots := d.records[history.ReadOfKept]
	if len(slots) == 0 {
		return usagef("no records were planted that could be missed")
	}
	for _, node := range d.world.Nodes(topology.Site(site), topology.Cassandra)[:n] {
		v, err := d.volumeOf(node)
		if err != nil {
			return err
		}
		if err := v.lose(ctx, slots); err != nil {
			return fmt.Errorf("let %s lose its volume: %w", node.Name(), err)
		}
	}
	return nil
}

// volume is a Cassandra node that loses its volume, beside all other nodes of both regions.
type volume struct {
	d      *Drill
	node   topology.Node
	at     cassandra.NodeAt
	others []cassandra.NodeAt // those of its own region first
}

func (d *Drill) volumeOf(node topology.Node) (volume, error) {
	v := volume{d: d, node: node}
	var err error
	if v.at, err = nodeAt(node); err != nil {
		return v, err
	}
	var far []cassandra.NodeAt
	for _, n := range d.world.Nodes("", topology.Cassandra) {
		at, err := nodeAt(n)
		switch {
		case err != nil:
			return v, err
		case n.Name() == node.Name():
		case n.Site() == node.Site():
			v.others = append(v.others, at)
		default:
			far = append(far, at)
		}
	}
	v.others = append(v.others, far...)
	return v, nil
}

// Bounds of one failure. A JVM of six on a busy machine takes half a minute to start.
const (
	goneLimit = 90 * time.Second  // until everybody sees a killed node down
	backLimit = 180 * time.Second // until a node that was started takes part, or has ended
)

// lose is one node's failure, and its way back by the parameters of its region: it takes its old place; or its ring refuses it,
// because it still knows another one by its address, and the operators take that one out and start it again.
func (v volume) lose(ctx context.Context, slots []int) error {
	d := v.d
	held, err := v.records(ctx, slots)
	if err != nil {
		return err
	}
	was, err := v.member(ctx)
	if err != nil {
		return err
	}
	if err := v.node.Kill(ctx); err != nil {
		return err
	}
	if err := v.node.Wipe(ctx); err != nil {
		return err
	}
	d.say("fault", "%s is dead, and its volume with it", v.node.Name())
	err = v.await(ctx, goneLimit, "every node sees it down", func(seen cassandra.View) string {
		return stands(seen, was.Address, cassandra.Down)
	})
	if err != nil {
		return err
	}
	if err := v.node.Start(ctx); err != nil {
		return err
	}
	refused, err := v.back(ctx, was.Address)
	if err != nil {
		return err
	}
	if refused {
		d.say("operator", "%s is refused by its ring, which knows another node by its address: that one is removed", v.node.Name())
		if err := v.remove(ctx, was); err != nil {
			return err
		}
		if err := v.node.Wipe(ctx); err != nil { // what it wrote before it was refused
			return err
		}
		if err := v.node.Start(ctx); err != nil {
			return err
		}
		if again, err := v.back(ctx, was.Address); err != nil {
			return err
		} else if again {
			return fmt.Errorf("its ring refuses it although %s was removed", was.Host)
		}
	}
	holds, err := v.records(ctx, slots)
	if err != nil {
		return err
	}
	d.record.Mark(history.KindEmptied, v.node.Name(), history.EmptiedData{
		Site: string(v.node.Site()), Node: v.node.Name(), Asked: slots, Held: held, Holds: holds, Removed: refused,
	})
	d.say("records", "%s held %d of %d records, lost its volume, and came back with %d", v.node.Name(), len(held), len(slots), len(holds))
	return v.hintsDelivered(ctx)
}

// hintsDelivered waits until no other node keeps hints for this one. A node that takes the place of one with its own address is forwarded no
// write until it has it (StorageService warns of that at its start): what was acknowledged meanwhile it gets from hints alone, which
// are looked at every 10 s. The next node to lose its volume takes its hints with it, and of three nodes one has the row then.
func (v volume) hintsDelivered(ctx context.Context) error {
	is, err := v.member(ctx)
	if err != nil {
		return err
	}
	var clean time.Time // since when no node shows any: one that is being written shows within hints_flush_period, a second
	return await(ctx, "wait until nobody keeps hints for "+v.node.Name(), func(ctx context.Context) (string, error) {
		for _, n := range v.others {
			hints, err := cassandra.PendingHints(ctx, n)
			if err == nil && hints[is.Host] == 0 {
				continue
			}
			clean = time.Time{}
			if err != nil {
				return err.Error(), nil
			}
			return fmt.Sprintf("%s keeps %d files of hints for it", n.Name, hints[is.Host]), nil
		}
		if clean.IsZero() {
			clean = time.Now()
		}
		if time.Since(clean) < 2*time.Second {
			return "nobody does, by now", nil
		}
		return "", nil
	})
}

// records are the planted records that the node gives by itself.
func (v volume) records(ctx context.Context, slots []int) (found []int, err error) {
	return found, await(ctx, "read records at "+v.node.Name(), func(ctx context.Context) (string, error) {
		if found, err = cassandra.NodeRecords(ctx, v.at, slots); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
}

// member is the node as it shows itself in its ring.
func (v volume) member(ctx context.Context) (m cassandra.Member, err error) {
	return m, await(ctx, "look for "+v.node.Name()+" in its ring", func(ctx context.Context) (string, error) {
		self, err := cassandra.Look(ctx, v.at)
		if err != nil {
			return err.Error(), nil
		}
		i := slices.IndexFunc(self.Members, func(m cassandra.Member) bool { return m.Address == self.Self })
		if i < 0 || self.Members[i].Host == "" {
			return fmt.Sprintf("it shows %+v", self.Members), nil
		}
		m = self.Members[i]
		return "", nil
	})
}

// back waits until the node takes part and everybody sees it up. refused: it ended, because its ring knows another one by its address.
func (v volume) back(ctx context.Context, address string) (refused bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, backLimit, fmt.Errorf("not within %v", backLimit))
	defer cancel()
	for {
		last := ""
		state, err := v.node.State(ctx)
		switch {
		case err != nil:
			last = err.Error()
		case state == topology.Stopped:
			return true, v.wasRefused(ctx)
		default:
			if last, err = v.takesPart(ctx, address); err == nil && last == "" {
				return false, nil
			} else if err != nil {
				last = err.Error()
			}
		}
		if pass(ctx, time.Second) != nil {
			return false, fmt.Errorf("wait until it is back: %w; last seen: %s", context.Cause(ctx), last)
		}
	}
}

// takesPart says what is still missing until the node is whole.
func (v volume) takesPart(ctx context.Context, address string) (string, error) {
	self, err := cassandra.Look(ctx, v.at)
	if err != nil {
		return "", err
	}
	if self.Mode != "NORMAL" {
		return "it is " + self.Mode, nil
	}
	return v.missing(ctx, func(seen cassandra.View) string { return stands(seen, address, cassandra.Up) })
}

// refusal is what Cassandra says when an address is taken (StorageService.checkForEndpointCollision).
const refusal = "already exists, cancelling join"

func (v volume) wasRefused(ctx context.Context) error {
	lines, err := v.node.Logs(ctx, 400)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, refusal) }) {
		return fmt.Errorf("it ended; the end of its log:\n  %s", strings.Join(lines[max(0, len(lines)-20):], "\n  "))
	}
	return nil
}

// remove takes the dead node out of the ring, asked of one that stays in its region, and waits until its address is free again: twice
// the ring's delay, as in row 8 of the preparation.
func (v volume) remove(ctx context.Context, dead cassandra.Member) error {
	err := v.await(ctx, goneLimit, "every node sees it down again", func(seen cassandra.View) string {
		return stands(seen, dead.Address, cassandra.Down)
	})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, goneLimit, fmt.Errorf("not within %v", goneLimit))
	defer cancel()
	if err := cassandra.Remove(limited, v.others[0], dead.Host); err != nil {
		return err
	}
	return v.await(ctx, goneLimit, "its address is free again", func(seen cassandra.View) string {
		for _, m := range seen.Members {
			if m.Host == dead.Host {
				return "shows it " + m.State
			}
		}
		for _, r := range seen.Removed {
			if left := time.Until(r.At.Add(2*seen.RingDelay + time.Second)); r.Address == dead.Address && left > 0 {
				return "ignores its address for another " + left.Round(100*time.Millisecond).String()
			}
		}
		return ""
	})
}

// stands says how a view differs from showing an address in a state; "" for not at all.
func stands(v cassandra.View, address, state string) string {
	for _, m := range v.Members {
		if m.Address == address {
			if m.State == state {
				return ""
			}
			return "shows it " + m.State
		}
	}
	return "does not show it"
}

// await asks all other nodes until none of them misses anything.
func (v volume) await(ctx context.Context, limit time.Duration, what string, misses func(cassandra.View) string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	for {
		last, err := v.missing(ctx, misses)
		if err == nil && last == "" {
			return nil
		}
		if err != nil {
			last = err.Error()
		}
		if pass(ctx, time.Second) != nil {
			return fmt.Errorf("wait until %s: %w; last seen: %s", what, context.Cause(ctx), last)
		}
	}
}

// missing asks all other nodes once, together, what each of them misses.
func (v volume) missing(ctx context.Context, misses func(cassandra.View) string) (string, error) {
	says := make([]string, len(v.others))
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range v.others {
		g.Go(func() error {
			seen, err := cassandra.Look(ctx, n)
			if err != nil {
				return err
			}
			if m := misses(seen); m != "" {
				says[i] = n.Name + " " + m
			}
			return nil
		})
	}
	err := g.Wait()
	return strings.Join(slices.DeleteFunc(says, func(s string) bool { return s == "" }), "; "), err
}
