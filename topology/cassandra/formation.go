package cassandra

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/payment"
)

// SeedsForm is the value of payment.ParamSeeds by which every node of the cluster is a seed.
const SeedsForm = "form"

// Formation is how a node finds its ring and what it does when it has no data. It is read from its region's parameters at each
// start (article 002, notes ※6 and ※8): the values by which a cluster is formed are not those by which it is kept.
type Formation struct {
	Seeds     []string `json:"seeds"` // broadcast addresses; nil: every node of the cluster
	Bootstrap bool     `json:"auto_bootstrap"`
	// Replace makes a node without data take the place that its address has in the ring. With Bootstrap it first takes the data
	// from others; without, it comes back empty.
	Replace bool `json:"replace"`
}

// ParseFormation reads a region's parameters. What is not among them is as a cluster is formed: every node a seed, and nobody
// waits for anybody's data.
func ParseFormation(values map[string]string) (Formation, error) {
	var f Formation
	var errs []error
	truth := func(name string, to *bool) {
		switch v := strings.TrimSpace(values[name]); v {
		case "", "false":
		case "true":
			*to = true
		default:
			errs = append(errs, fmt.Errorf("%s is %q, want true or false", name, v))
		}
	}
	truth(payment.ParamBootstrap, &f.Bootstrap)
	truth(payment.ParamReplace, &f.Replace)
	if v := strings.TrimSpace(values[payment.ParamSeeds]); v != "" && v != SeedsForm {
		for s := range strings.SplitSeq(v, ",") {
			s = strings.TrimSpace(s)
			if _, err := netip.ParseAddr(s); err != nil {
				errs = append(errs, fmt.Errorf("%s has %q, want %q or addresses", payment.ParamSeeds, s, SeedsForm))
			}
			f.Seeds = append(f.Seeds, s)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Formation{}, fmt.Errorf("read how the ring is formed: %w", err)
	}
	return f, nil
}

// String is for logs.
func (f Formation) String() string {
	seeds := SeedsForm
	if f.Seeds != nil {
		seeds = strings.Join(f.Seeds, ",")
	}
	return fmt.Sprintf("seeds %s, auto_bootstrap %t, replace %t", seeds, f.Bootstrap, f.Replace)
}

// Apply completes a node's options, which have all nodes as seeds. empty says that the node has no data.
//
// A node that has its data is a seed to itself, whoever else is: it has nothing to ask for, and a region that is cut off from its
// seeds could not start again otherwise. One without data is none, unless it is named: Cassandra gives a seed no data.
func (f Formation) Apply(o *NodeOptions, empty bool) {
	o.Bootstrap = f.Bootstrap
	o.Replace = f.Replace && empty
	if f.Seeds == nil {
		return
	}
	o.Seeds = slices.Clone(f.Seeds)
	if !empty && !slices.Contains(o.Seeds, o.Broadcast) {
		o.Seeds = append(o.Seeds, o.Broadcast)
	}
}

// Empty says whether a data folder holds no data of a node.
func Empty(dataDir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, "data"))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for Cassandra's data: %w", err)
	}
	return len(entries) == 0, nil
}
