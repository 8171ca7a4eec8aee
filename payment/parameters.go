package payment

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Names of the parameters that the parts read. "Before start" ones are read once, when a node starts (article 002, row 4); the
// others are watched (row 7).
const (
	ParamMySQL       = "mysql.endpoint"           // before start: host:port
	ParamCassandra   = "cassandra.endpoints"      // before start: host:port,host:port
	ParamDC          = "cassandra.dc"             // before start: the region's own data centre
	ParamEpoch       = "epoch"                    // before start: the epoch that the region writes under
	ParamAcquirer    = "acquirer.endpoint"        // before start: http://host:port
	ParamClusterForm = "cluster.form"             // "true" before start: form a new cluster; "false" after it: keep the cluster when a node fails
	ParamSeeds       = "cassandra.seeds"          // read by the region's Cassandra nodes at each start: "form" (all of them) or addresses
	ParamBootstrap   = "cassandra.auto_bootstrap" // likewise: "true" lets a node without data take them from the others
	ParamReplace     = "cassandra.replace"        // likewise: "true" lets a node without data take the place of the one that had its address
	ParamBatch       = "batch.enabled"            // watched: "true" lets the region's batch settle
	ParamRelease     = "app.release"              // before start: release that the region's application must be; it refuses to start as another
)

// Release is the release of this application. It changes when two of them must not serve together.
const Release = "1"

// Parameters are the values that a node reads once, at its start.
type Parameters struct {
	Version     int64 // of the store when they were read
	MySQL       string
	Cassandra   []string
	DC          string
	Epoch       int64
	Acquirer    string // URL
	ClusterForm bool
}

// ParseParameters reads the parameters that are needed at start. The error names every one that is missing or wrong.
func ParseParameters(v Values) (Parameters, error) {
	var bad []string
	get := func(name string) string {
		s := strings.TrimSpace(v.Values[name])
		if s == "" {
			bad = append(bad, name+" is missing")
		}
		return s
	}
	p := Parameters{Version: v.Version, MySQL: get(ParamMySQL), DC: get(ParamDC), Acquirer: get(ParamAcquirer)}
	if p.MySQL != "" {
		if _, _, err := net.SplitHostPort(p.MySQL); err != nil {
			bad = append(bad, fmt.Sprintf("%s is %q, want host:port", ParamMySQL, p.MySQL))
		}
	}
	if p.Acquirer != "" && !strings.Contains(p.Acquirer, "://") {
		p.Acquirer = "http://" + p.Acquirer
	}
	for e := range strings.SplitSeq(get(ParamCassandra), ",") {
		if e = strings.TrimSpace(e); e != "" {
			p.Cassandra = append(p.Cassandra, e)
		}
	}
	if s := get(ParamEpoch); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			bad = append(bad, fmt.Sprintf("%s is %q, want a number of 1 or more", ParamEpoch, s))
		}
		p.Epoch = n
	}
	switch s := get(ParamClusterForm); s {
	case "", "false":
	case "true":
		p.ClusterForm = true
	default:
		bad = append(bad, fmt.Sprintf("%s is %q, want true or false", ParamClusterForm, s))
	}
	if s := v.Values[ParamRelease]; s != "" && s != Release {
		bad = append(bad, fmt.Sprintf("%s is %q, this application is release %q", ParamRelease, s, Release))
	}
	if len(bad) > 0 {
		return Parameters{}, fmt.Errorf("parameters at version %d: %s", v.Version, strings.Join(bad, ", "))
	}
	return p, nil
}
