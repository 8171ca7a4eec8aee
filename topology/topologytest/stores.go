package topologytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// resolve asks the zone's server, as a customer does.
func resolve(w topology.World, name string) (string, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	r, _, err := (&dns.Client{Timeout: patience}).Exchange(m, w.Zone().Server())
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", name, err)
	}
	if len(r.Answer) != 1 {
		return "", fmt.Errorf("resolve %s: %v", name, r)
	}
	return r.Answer[0].(*dns.A).A.String(), nil
}

// pay makes a payment by name, through the door of the entry, and waits until it has landed in both regions' stores.
func pay(ctx context.Context, w topology.World, key string, limits Limits) error {
	records, err := w.Zone().Records(ctx)
	if err != nil {
		return err
	}
	at, err := resolve(w, records[0].Name)
	if err != nil {
		return err
	}
	status, body, err := web(ctx, "POST", fmt.Sprintf("http://%s:%d/payments", at, topology.ServiceHTTP.Port()), key, `{"from":1,"to":2,"yen":100}`)
	if err != nil || status != 200 || !strings.Contains(body, "DONE") {
		return fmt.Errorf("payment: %d %s %w", status, body, err)
	}
	standby := w.Topology().Standby()
	db := w.Nodes(standby, topology.MySQL)[0]
	address, err := db.Reach(topology.ServiceMySQL)
	if err != nil {
		return err
	}
	replica, err := mysql.Open(address, mysql.UserOps, w.About().Secret, mysql.Options{Name: db.Name()})
	if err != nil {
		return err
	}
	defer replica.Close()
	err = until(ctx, limits.Answer, "the standby's MySQL shows the payment", func(ctx context.Context) error {
		rows, err := replica.Rows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Payments, func(p history.PaymentRow) bool { return p.Key == key && p.State == "DONE" }) {
			err = fmt.Errorf("it shows %d payments", len(rows.Payments))
		}
		return err
	})
	if err != nil {
		return err
	}
	site, err := ring(w, standby)
	if err != nil {
		return err
	}
	journal, err := cassandra.Open(ctx, site)
	if err != nil {
		return err
	}
	defer journal.Close()
	return until(ctx, limits.Answer, "the standby's Cassandra shows the event", func(ctx context.Context) error {
		rows, err := journal.JournalRows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Events, func(e history.EventRow) bool { return e.Key == key }) {
			err = fmt.Errorf("it shows %d events", len(rows.Events))
		}
		return err
	})
}

func (c *contract) served(t *testing.T) { must(t, pay(t.Context(), c.World, "contract-1", c.limits)) }

func (c *contract) zone(t *testing.T) {
	before, err := c.Zone().Records(t.Context())
	must(t, err)
	if len(before) != len(c.Topology().Zone.Records) || len(before) == 0 {
		t.Fatalf("%d records", len(before))
	}
	r := before[0]
	was, err := resolve(c.World, r.Name)
	must(t, err)
	if was != r.Address || r.Site != c.active || r.TTL != c.Topology().Zone.TTL {
		t.Errorf("%s is %s, the record says %+v", r.Name, was, r)
	}
	must(t, c.Zone().Point(t.Context(), r.Name, c.standby))
	now, err := resolve(c.World, r.Name)
	must(t, err)
	if now == was {
		t.Errorf("%s still leads to %s", r.Name, now)
	}
	// Each region's address is that of its entry's door.
	for site, address := range map[topology.Site]string{c.active: was, c.standby: now} {
		l := c.link(t, topology.Outside, site, topology.ServiceHTTP)
		if !slices.ContainsFunc(l.Doors(), func(d topology.Door) bool {
			return d.Reach == fmt.Sprintf("%s:%d", address, topology.ServiceHTTP.Port())
		}) {
			t.Errorf("%s leads to %s, the doors of %s are %+v", r.Name, address, l.ID(), l.Doors())
		}
	}
	must(t, c.Zone().Point(t.Context(), r.Name, c.active))
	must(t, c.Zone().Point(t.Context(), "young", c.standby))
	after, err := c.Zone().Records(t.Context())
	must(t, err)
	if len(after) != len(before)+1 || !after[0].Changed.After(before[0].Changed) || !after[0].Added.Equal(before[0].Added) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := c.Zone().Point(t.Context(), r.Name, "osako"); err == nil || !strings.Contains(err.Error(), `did you mean "osaka"?`) {
		t.Errorf("unknown site: %v", err)
	}
}

// alone: a lost site's stores give their data while everything around them is cut.
func (c *contract) alone(t *testing.T) {
	for _, l := range c.Links() {
		if l.ID().From == c.active || l.ID().To == c.active {
			must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
		}
	}
	for _, kind := range []topology.Kind{topology.App, topology.MySQL, topology.Cassandra} {
		for _, n := range c.Nodes(c.active, kind) {
			must(t, n.Kill(t.Context()))
		}
	}
	app, ok := c.node(t, c.active, topology.App).(topology.LoneStarter)
	if ok {
		if err := app.StartAlone(t.Context()); !errors.Is(err, topology.ErrUnsupported) {
			t.Errorf("an app alone: %v", err)
		}
	}
	for _, kind := range []topology.Kind{topology.MySQL, topology.Cassandra} {
		for _, n := range c.Nodes(c.active, kind) {
			lone, ok := n.(topology.LoneStarter)
			if !ok {
				t.Fatalf("%s cannot be started alone", n.Name())
			}
			must(t, lone.StartAlone(t.Context()))
		}
	}
	db := c.mysql(t, c.active)
	ctx, cancel := context.WithTimeout(t.Context(), c.limits.Answer)
	defer cancel()
	must(t, db.WaitReady(ctx))
	s, err := db.Status(ctx)
	must(t, err)
	if !s.SuperReadOnly {
		t.Error("it came up writable")
	}
	rows, err := db.Rows(ctx)
	must(t, err)
	if len(rows.Payments) == 0 {
		t.Error("its payments are gone")
	}
	within(t, c.limits.Answer, "Cassandra gives its events", func(ctx context.Context) error {
		site, err := ring(c.World, c.active)
		if err != nil {
			return err
		}
		s, err := cassandra.Open(ctx, site)
		if err != nil {
			return err
		}
		defer s.Close()
		rows, err := s.JournalRows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Events, func(e history.EventRow) bool { return e.Key == "contract-1" }) {
			err = errors.New("its events are gone")
		}
		return err
	})
}
