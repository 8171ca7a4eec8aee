package wire

import (
	"strings"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/plan"
)

// SecretVariable gives paymentd the password of its database user.
const SecretVariable = "KIRIKAE_SECRET"

// CassandraNode is what a plan says of one Cassandra node. The data folder and everything of the place where it runs are the
// caller's to add.
func CassandraNode(p plan.Plan, n plan.Node, world string) cassandra.NodeOptions {
	o := cassandra.NodeOptions{
		Cluster: "kirikae-" + world, Listen: n.Host, Broadcast: n.Broadcast, DC: string(n.Site),
		Token: cassandra.Token(n.Index, len(p.Of(n.Site, topology.Cassandra)), p.Number(n.Site)),
	}
	for _, peer := range p.Of("", topology.Cassandra) {
		o.Seeds = append(o.Seeds, peer.Broadcast)
	}
	return o
}

// MySQLNode is what a plan says of one MySQL server. The data folder is the caller's to add.
func MySQLNode(p plan.Plan, n plan.Node) mysql.NodeOptions {
	return mysql.NodeOptions{Address: n.Host, ServerID: uint32(p.Number(n.Site)*100 + n.Index)}
}

// Witness is where a region's nodes dial the witness, a base URL; "" where the topology's fence is none.
func Witness(p plan.Plan, site topology.Site) string {
	for _, n := range p.Of(topology.Outside, topology.Witness) {
		return "http://" + p.Door(site, n.Name)
	}
	return ""
}

// Params is where a region's nodes read their parameter store, a base URL.
func Params(p plan.Plan, site topology.Site) string {
	return "http://" + p.Of(site, topology.Params)[0].Endpoints[topology.ServiceHTTP]
}

// Guard is the command line by which paymentd becomes the parent of a MySQL and holds it to its region's lease. ready is the file
// that exists once its data have their users, status the one that the guard writes; server is the MySQL's own command line.
func Guard(p plan.Plan, n plan.Node, socket, ready, status string, server ...string) []string {
	args := []string{"guard", "--site", string(n.Site), "--node", n.Name, "--witness", Witness(p, n.Site), "--params", Params(p, n.Site), "--socket", socket, "--ready-file", ready, "--status", status, "--"}
	return append(args, server...)
}

// Paymentd is the command line of one of the platform's own nodes, and what its environment has of the world. file is where a
// parameter store keeps its values, the acquirer its log, or the witness its state; other kinds have none. extra is appended, for planted defects.
func Paymentd(p plan.Plan, n plan.Node, secret, file string, extra ...string) (args, env []string) {
	params := func() string { return Params(p, n.Site) }
	env = []string{SecretVariable + "=" + secret}
	switch n.Kind {
	case topology.App:
		args = []string{"online", "--params", params()}
	case topology.Batch:
		args = []string{"batch", "--params", params()}
	case topology.Gateway:
		var backends []string
		for _, b := range p.Of(n.Site, topology.App) {
			backends = append(backends, b.Endpoints[topology.ServiceHTTP])
		}
		args, env = []string{"gateway", "--backends", strings.Join(backends, ",")}, nil
	case topology.Params:
		args, env = []string{"params", "--file", file}, nil
	case topology.Acquirer:
		args, env = []string{"acquirer", "--log", file}, nil
	case topology.Reconciler:
		args = []string{"reconcile", "--params", params()}
	case topology.Witness:
		args, env = []string{"witness", "--state", file, "--holder", string(p.Topology.Active())}, nil
	case topology.OnPremises:
		zone := p.Topology.Zone
		args, env = []string{"onprem", "--dns", p.Names(true), "--name", zone.Records[0] + "." + zone.Name}, nil
	}
	args = append(args, "--listen", n.Endpoints[topology.ServiceHTTP], "--site", string(n.Site), "--node", n.Name)
	return append(args, extra...), env
}
