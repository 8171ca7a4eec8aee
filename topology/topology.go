// Package topology declares the two-region platform that a drill breaks (Topology, Validate) and what a running one offers
// (Runtime, World, Node, Link). It knows sites, nodes and links; what SQL or CQL can do is in its folders mysql and cassandra.
//
// The platform is article 002's: Tokyo active, Osaka standby, Aurora's global database played by MySQL with asynchronous
// replication, Cassandra over both regions, the application of the standby region stopped in normal times.
package topology

import (
	"time"
)

// Site is a place: a region, or outside (customers, acquirer, on-premises client).
type Site string

// Outside is everything that is in neither region.
const Outside Site = "outside"

// Kind is what a node is.
type Kind string

// Kinds of nodes.
const (
	MySQL      Kind = "mysql"
	Cassandra  Kind = "cassandra"
	Params     Kind = "params"  // the region's parameter store (002: Systems Manager Parameter Store)
	App        Kind = "app"     // paymentd online (002: Akka on Fargate)
	Batch      Kind = "batch"   // paymentd batch
	Gateway    Kind = "gateway" // the region's health-checked entry
	Acquirer   Kind = "acquirer"
	OnPremises Kind = "onprem"    // the client on premises that is started last (002, row 9)
	Reconciler Kind = "reconcile" // paymentd reconcile of a region (001: 突合)
	Witness    Kind = "witness"   // the lease service on premises, where the topology's fence is one
)

// Service is what a link carries or a node listens for.
type Service string

// Services.
const (
	ServiceMySQL     Service = "mysql"     // 3306
	ServiceCassandra Service = "cassandra" // 7000, between nodes
	ServiceCQL       Service = "cql"       // 9042, inside a site only
	ServiceJMX       Service = "jmx"       // 8778, JMX over HTTP, inside a site only
	ServiceHTTP      Service = "http"      // 8080: gateway, app, parameter store, acquirer
	ServiceAcquirer  Service = "acquirer"  // the link from a region to the acquirer's http
	ServiceWitness   Service = "witness"   // the link from a region to the witness's http
)

// Port is the port of a service, the same at every node.
func (s Service) Port() int {
	switch s {
	case ServiceMySQL:
		return 3306
	case ServiceCassandra:
		return 7000
	case ServiceCQL:
		return 9042
	case ServiceJMX:
		return 8778
	default:
		return 8080
	}
}

// Topology is a declared platform. Read it with Load, which validates it.
type Topology struct {
	Name    string
	Regions []Region // in the file's order
	Links   []LinkSpec
	Zone    ZoneSpec
	// ReplicationFactor of every keyspace, per region; at most the region's Cassandra nodes.
	ReplicationFactor map[Site]int
	Fence             Fence // what keeps a region that is cut off from writing
	Reconcile         bool  // the active region's reconciler runs from the start; otherwise whoever needs it starts it
	Accounts          int   // accounts of the platform
	Opening           int64 // opening balance of each, yen
}

// Region is one region of the platform.
type Region struct {
	Name      Site
	Role      Role
	Cassandra int // nodes
	Apps      int // paymentd online nodes behind the gateway
}

// Role of a region at the start.
type Role string

// Roles.
const (
	Active  Role = "active"
	Standby Role = "standby"
)

// LinkSpec declares one link: who dials whom does not matter here, the bytes' direction does.
type LinkSpec struct {
	ID    LinkID
	Delay time.Duration // one way
}

// ZoneSpec declares the public zone.
type ZoneSpec struct {
	Name    string // "kirikae.test."
	TTL     time.Duration
	Records []string // names inside the zone; all lead to the active region at the start
}

// Active is the region that serves at the start.
func (t Topology) Active() Site { return t.byRole(Active) }

// Standby is the region that takes over.
func (t Topology) Standby() Site { return t.byRole(Standby) }

func (t Topology) byRole(r Role) Site {
	for _, x := range t.Regions {
		if x.Role == r {
			return x.Name
		}
	}
	return ""
}

// Fence is what keeps the database of a region that is cut off from taking writes.
type Fence string

// Fences.
const (
	NoFence      Fence = "none"    // nothing does, as in article 002: it goes on acknowledging to whoever reaches it
	WitnessFence Fence = "witness" // a lease that an agent beside the database renews at a witness outside both regions
)
