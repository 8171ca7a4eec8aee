package containers

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Ports inside containers that are not a service's.
const (
	portToxiproxy  = 8474
	portNames      = 5353 // for the outside's own nodes
	portNamesReach = 5354 // the same zone as the machine sees it
	portNamesAPI   = 8081
	firstTap       = 20001 // a door's other end, for a process of the machine; one a route, in the plan's order
)

// Paths inside containers.
const (
	paymentd      = "/paymentd"
	dataPayment   = "/data"
	dataCassandra = "/var/lib/cassandra"
	volumeMySQL   = "/var/lib/mysql" // the data's markers and options lie beside the data, on the volume
	dataMySQL     = volumeMySQL + "/data"
)

// own is the address by which a health check, which runs inside the container, comes to what listens for few.
const own = "127.0.0.1"

// NamesAPI is the address of the name server's console, for a process of this machine.
func NamesAPI(p plan.Plan) string {
	return net.JoinHostPort(hostOf(p.Names(false)), strconv.Itoa(portNamesAPI))
}

type builder struct {
	p plan.Plan
	o Options
}

func (b builder) onlyFrom(sites ...topology.Site) []string {
	args := []string{"--only-from", own}
	for _, s := range sites {
		args = append(args, "--only-from", b.p.Gateway(s))
	}
	return args
}

// wan is what is between the sites. It is on all their networks, and forwards nothing but by its proxies.
func (b builder) wan() Container {
	p := b.p
	args := append([]string{"wan", "--api", fmt.Sprintf("0.0.0.0:%d", portToxiproxy)}, b.onlyFrom(p.Sites()...)...)
	for _, l := range p.Topology.Links {
		args = append(args, "--link", l.ID.String()+"="+l.Delay.String())
	}
	ports := []Port{publish(p.Toxiproxy(), portToxiproxy, "tcp")}
	bypass := false
	for i, r := range p.Routes {
		tap := firstTap + i
		args = append(args, "--door", strings.Join([]string{r.Upstream().String(), r.Node, r.Door, r.Listen, r.Target, strconv.Itoa(tap)}, ","))
		ports = append(ports, publish(r.Reach, tap, "tcp"))
		bypass = bypass || r.Listen != r.Door
	}
	if bypass {
		args = append(args, "--bypass")
	}
	c := Container{
		Name: WAN, Image: ImageWAN, Entrypoint: []string{Inside}, Args: args, Ports: ports, Caps: []string{"NET_ADMIN"},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "0"}, // no way between the networks but the doors
		Health:  healthy("http", fmt.Sprintf("http://%s:%d/proxies", own, portToxiproxy)), Start: true, Grace: 5 * time.Second,
	}
	for _, s := range p.Sites() {
		c.Networks = append(c.Networks, Attachment{s, p.WANHost(s)})
	}
	return c
}

// names is the public zone's name server: outside's nodes are led to the doors, customers of the machine to what is published.
func (b builder) names() Container {
	p, z := b.p, b.p.Topology.Zone
	args := []string{"names", "--zone", z.Name, "--ttl", z.TTL.String()}
	for _, r := range z.Records {
		args = append(args, "--record", r)
	}
	args = append(args, "--at", string(p.Topology.Active()), "--listen", p.Names(true))
	var reach []string
	for _, n := range p.Of("", topology.Gateway) {
		r, _ := p.Route(topology.Outside, n.Name)
		args = append(args, "--entry", string(n.Site)+"="+hostOf(r.Door))
		reach = append(reach, "--reach-entry", string(n.Site)+"="+hostOf(r.Reach))
	}
	args = append(args, "--reach-listen", fmt.Sprintf("0.0.0.0:%d", portNamesReach))
	args = append(args, reach...)
	args = append(args, "--api", fmt.Sprintf("0.0.0.0:%d", portNamesAPI))
	args = append(args, b.onlyFrom(topology.Outside)...)
	return Container{
		Name: Names, Image: ImageWAN, Entrypoint: []string{Inside}, Args: args,
		Networks: []Attachment{{topology.Outside, hostOf(p.Names(true))}},
		Ports:    []Port{publish(p.Names(false), portNamesReach, "tcp"), publish(p.Names(false), portNamesReach, "udp"), publish(NamesAPI(p), portNamesAPI, "tcp")},
		Health:   healthy("http", fmt.Sprintf("http://%s:%d/records", own, portNamesAPI)), Start: true, Grace: 5 * time.Second,
	}
}

// pod holds the network of a Cassandra node, so that the node's restarts keep its address, its identity in the ring and its
// published ports, and its image needs neither a capability nor a program to set them.
func (b builder) pod(n plan.Node) Container {
	args := []string{"net", "--address", n.Broadcast + "/32"}
	for _, peer := range b.p.Of(n.Site, topology.Cassandra) {
		if peer.Name != n.Name {
			args = append(args, "--route", peer.Broadcast+"/32="+peer.Host)
		}
	}
	return Container{
		Name: Pod(n.Name), Image: ImageWAN, Entrypoint: []string{Inside}, Args: args, Networks: attached(n), Ports: ports(n),
		Caps: []string{"NET_ADMIN"}, Needs: []Need{{WAN, Healthy}}, Start: true, Grace: 2 * time.Second,
	}
}

// Pod is the name of the container that holds the network of a Cassandra node.
func Pod(node string) string { return node + netSuffix }

func (b builder) cassandra(n plan.Node) Container {
	o := wire.CassandraNode(b.p, n, b.o.ID)
	args := []string{"cassandra", "--listen", o.Listen, "--broadcast", o.Broadcast, "--dc", o.DC, "--token", o.Token, "--cluster", o.Cluster}
	for _, s := range o.Seeds {
		args = append(args, "--seed", s)
	}
	args = append(args, "--params", wire.Params(b.p, n.Site), "--data", dataCassandra)
	return Container{
		Name: n.Name, Node: &n, Image: ImageCassandra, Entrypoint: []string{Inside}, Args: args, Pod: Pod(n.Name),
		Volumes: []Volume{b.store(dataCassandra)}, Health: healthy("cql", n.Endpoints[topology.ServiceCQL]),
		Needs: []Need{{Pod(n.Name), Started}, {b.p.Of(n.Site, topology.Params)[0].Name, Healthy}}, Start: true, Grace: 15 * time.Second,
	}
}

func (b builder) mysql(n plan.Node) Container {
	o := wire.MySQLNode(b.p, n)
	o.DataDir = dataMySQL
	c := Container{
		Name: n.Name, Node: &n, Image: ImageMySQL, Entrypoint: []string{Inside},
		Args: []string{"mysql", "--address", o.Address, "--server-id", strconv.FormatUint(uint64(o.ServerID), 10), "--data", o.DataDir},
		Env:  b.secret(), Networks: attached(n), Ports: ports(n), Volumes: []Volume{b.store(volumeMySQL)},
		Health: healthy("mysql", o.Socket()), Start: true, Grace: 15 * time.Second,
	}
	if url := wire.Witness(b.p, n.Site); url != "" {
		c.Args = append(c.Args, "--witness", url, "--params", wire.Params(b.p, n.Site), "--site", string(n.Site), "--node", n.Name)
		for _, w := range b.p.Of("", topology.Witness) {
			c.Needs = append(c.Needs, Need{w.Name, Healthy})
		}
	}
	return c
}

// store is the volume of a store.
func (b builder) store(path string) Volume {
	return Volume{Path: path, Memory: b.o.Volumes == topology.VolumesMemory}
}

// Keeper is the container that has all volumes in memory for as long as a world lasts: an engine forgets what is in such a one when
// the last running container that has it ends. It is started before the others are made. None where no volume is in memory.
func Keeper(o Options, all []Container) (Container, bool) {
	k := Container{
		Name: keeper, Image: ImageWAN, Entrypoint: []string{Inside}, Args: []string{"keep"}, User: "0:0", Offline: true, // as root it may empty what is others'
		Labels: maps.Clone(o.labels()), Start: true, Grace: 2 * time.Second,
	}
	k.Labels[LabelNode] = k.Name
	for _, c := range all {
		for _, v := range c.Volumes {
			if v.Memory {
				k.Volumes = append(k.Volumes, Volume{Suffix: v.Suffix, Path: Kept(c.Name, v), Memory: true, Of: c.Name})
			}
		}
	}
	return k, len(k.Volumes) > 0
}

const keeper = "volumes"

// Kept is where the keeper has a container's volume.
func Kept(container string, v Volume) string { return "/kept/" + container + v.Suffix }

// paymentd is one of the platform's own nodes.
func (b builder) paymentd(n plan.Node) Container {
	http := "http://" + n.Endpoints[topology.ServiceHTTP]
	c := Container{
		Name: n.Name, Node: &n, Image: ImagePayment, Entrypoint: []string{paymentd}, Networks: attached(n), Ports: ports(n),
		Health: healthy("http", http+"/status"), Start: b.p.Normally(n), Grace: 5 * time.Second,
	}
	file := ""
	needs := func(kinds ...topology.Kind) {
		for _, kind := range kinds {
			for _, s := range b.p.Of(n.Site, kind) {
				c.Needs = append(c.Needs, Need{s.Name, Healthy})
			}
		}
	}
	switch n.Kind {
	case topology.App:
		c.Health = healthy("http", http+"/healthz")
		needs(topology.Params, topology.Cassandra, topology.MySQL)
	case topology.Batch:
		needs(topology.Params)
	case topology.Params:
		file = dataPayment + "/params.json"
	case topology.Acquirer:
		file = dataPayment + "/acquirer.jsonl"
	case topology.Reconciler:
		needs(topology.Params)
	case topology.Witness:
		file = dataPayment + "/witness.json"
	}
	if file != "" {
		c.Volumes = []Volume{{Path: dataPayment}}
	}
	args, env := wire.Paymentd(b.p, n, b.o.Secret, file, b.o.Defects[string(n.Kind)]...)
	c.Args = args
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env[k] = v
	}
	return c
}

// rest lets the first start end at once.
func (c *Container) rest() {
	c.Entrypoint = append([]string{Inside, "rest", "--marker", dataPayment + "/rested", "--"}, c.Entrypoint...)
	c.Volumes = append(c.Volumes, Volume{Path: dataPayment})
}

// wire makes one platform of what was started, and ends. It reaches every site, as no node does.
func (b builder) wire(all []Container) Container {
	c := Container{
		Name: Wire, Image: ImageWAN, Entrypoint: []string{Inside}, Start: true, OneShot: true, Grace: 5 * time.Second, Env: b.secret(),
		Args: []string{"wire", "--topology", b.p.Topology.Name, "--octet", strconv.Itoa(b.p.Octet)},
	}
	for _, s := range b.p.Sites() {
		c.Networks = append(c.Networks, Attachment{s, WireHost(b.p, s)})
	}
	for _, x := range all {
		if x.Node == nil || !x.Start || x.Node.Kind == topology.App || x.Node.Kind == topology.Reconciler {
			continue
		}
		need := Need{x.Name, Started} // it waits for what it needs by reads of its own, but stores take longest
		if x.Node.Kind == topology.Cassandra || x.Node.Kind == topology.MySQL {
			need.Condition = Healthy
		}
		c.Needs = append(c.Needs, need)
	}
	return c
}

// WireHost is the address of the wiring at a site, beside the WAN's.
func WireHost(p plan.Plan, s topology.Site) string {
	return netip.MustParseAddr(p.WANHost(s)).Prev().String() // hosts are made by the plan only
}

func (b builder) secret() map[string]string {
	return map[string]string{wire.SecretVariable: b.o.Secret}
}

func attached(n plan.Node) []Attachment { return []Attachment{{n.Site, n.Host}} }

// ports publishes what a node listens for.
func ports(n plan.Node) []Port {
	var all []Port
	for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceJMX, topology.ServiceHTTP} {
		if at, ok := n.Reach[s]; ok {
			all = append(all, publish(at, s.Port(), "tcp"))
		}
	}
	return all
}

func publish(reach string, port int, protocol string) Port {
	at := netip.MustParseAddrPort(reach) // made by the plan only
	return Port{HostIP: at.Addr().String(), HostPort: int(at.Port()), Container: port, Protocol: protocol}
}

// How often a container is asked whether it is healthy. Each time the engine starts a program in it, which costs it some 70 ms of
// a CPU: asked every three seconds, the containers of the smallest world took a fifth of two CPUs.
const (
	askedOften  = 5 * time.Second  // others wait for it
	askedRarely = 30 * time.Second // for whoever looks at the list of containers
)

// healthy asks rarely. It has two minutes to begin with: a store on a busy machine.
func healthy(what, where string) *Health {
	return &Health{Test: []string{Inside, "healthy", what, where}, Interval: askedRarely, Timeout: 5 * time.Second,
		StartPeriod: 2 * time.Minute, Retries: 5}
}

// askOften lets what others wait for be asked more often.
func askOften(all []Container) {
	awaited := map[string]bool{}
	for _, c := range all {
		for _, n := range c.Needs {
			awaited[n.Container] = awaited[n.Container] || n.Condition == Healthy
		}
	}
	for _, c := range all {
		if awaited[c.Name] && c.Health != nil {
			c.Health.Interval = askedOften
		}
	}
}

func hostOf(address string) string { return netip.MustParseAddrPort(address).Addr().String() }
