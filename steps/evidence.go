package steps

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
)

// Charges reads the acquirer's log.
func (e *Estate) Charges(ctx context.Context) ([]history.Charge, error) {
	base, err := e.url(topology.Outside, topology.Acquirer)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/charges", nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read charges: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read charges: %s", resp.Status)
	}
	charges := []history.Charge{}
	for in := json.NewDecoder(bufio.NewReader(resp.Body)); ; {
		var c history.Charge
		if err := in.Decode(&c); errors.Is(err, io.EOF) {
			return charges, nil
		} else if err != nil {
			return nil, fmt.Errorf("read charges: %w", err)
		}
		charges = append(charges, c)
	}
}

// lostJournal reads the journal of a region that was started alone a moment ago: it waits until its Cassandra answers.
func (e *Estate) lostJournal(ctx context.Context, site topology.Site) (history.JournalRows, error) {
	where, err := e.ring(site)
	if err != nil {
		return history.JournalRows{}, err
	}
	// A session of its own: the one from before the loss still believes that its nodes are down.
	for {
		rows, err := readJournal(ctx, where)
		if err == nil {
			return rows, nil
		}
		if pass(ctx, 200*time.Millisecond) != nil {
			return rows, fmt.Errorf("wait for %s's Cassandra on its own: %w", site, err)
		}
	}
}

func readJournal(ctx context.Context, site cassandra.Site) (history.JournalRows, error) {
	s, err := cassandra.Open(ctx, site)
	if err != nil {
		return history.JournalRows{}, err
	}
	defer s.Close()
	return s.JournalRows(ctx)
}

// Facts is the state of the platform as one canonical document: roles, epoch, GTID relation, parameters, DNS, links, batch, app
// nodes. Nothing of one run is in it, so that two runs that ended alike have equal facts. The lost site is looked at only where
// that needs no server of it.
func (e *Estate) Facts(ctx context.Context, authority, lost topology.Site) (map[string]string, error) {
	f := map[string]string{}
	db, err := e.mysql(authority)
	if err != nil {
		return nil, err
	}
	status, err := db.Status(ctx)
	if err != nil {
		return nil, err
	}
	f[string(authority)+".mysql.role"] = role(status.Source)
	f[string(authority)+".mysql.writable"] = strconv.FormatBool(!status.ReadOnly && !status.SuperReadOnly)
	f[string(authority)+".mysql.writable-after-restart"] = strconv.FormatBool(!status.PersistedReadOnly)
	executed, err := history.ParseGTIDSet(status.Executed)
	if err != nil {
		return nil, err
	}
	f[string(authority)+".mysql.wrote-payments-itself"] = strconv.FormatBool(executed.Server(status.UUID).Count("pay") > 0)
	epoch, by, err := db.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	f["epoch"], f["epoch.site"] = strconv.FormatInt(epoch, 10), by

	store, err := e.Params(authority)
	if err != nil {
		return nil, err
	}
	_, values, err := store.Read(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"epoch", "cassandra.dc", "cluster.form", "batch.enabled"} {
		f[string(authority)+".params."+name] = values[name]
	}
	records, err := e.Zone().Records(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		f["dns."+r.Name] = string(r.Site)
	}
	for _, l := range e.Links() {
		layers, err := l.Layers(ctx)
		if err != nil {
			return nil, err
		}
		access := layers.Access
		if access == "" {
			access = topology.Allow
		}
		f["link."+l.ID().String()] = fmt.Sprintf("access %s, fault %s", access, or(string(layers.Fault.Kind), "none"))
	}
	for _, site := range []topology.Site{authority, lost, topology.Outside} {
		for _, kind := range []topology.Kind{topology.Gateway, topology.App, topology.Batch, topology.MySQL, topology.Cassandra, topology.OnPremises} {
			for _, n := range e.Nodes(site, kind) {
				state, err := n.State(ctx)
				if err != nil {
					return nil, err
				}
				f["node."+n.Name()] = string(state)
			}
		}
	}
	return f, nil
}

func role(source string) string {
	if source == "" {
		return "primary"
	}
	return "replica"
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
