package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/plan"
)

// Bounds of the wait for a region's parameter store. The nodes of a region are started at once, and the store answers within a
// second of its start on a free machine. Who has nothing to fall back on waits longer.
const (
	formationBudget      = 15 * time.Second
	firstFormationBudget = 2 * time.Minute
)

// ReadFormation reads from a region's parameter store, a base URL, how a Cassandra node is to find its ring, and keeps it in a file
// for the time when the store cannot be read. note says what was read, or what was taken instead and why. A store that gives no
// answer, with nothing kept, is an error: what the node should do is not known.
func ReadFormation(ctx context.Context, store, kept string) (f cassandra.Formation, note string, err error) {
	budget := formationBudget
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		budget = firstFormationBudget
	}
	return readFormation(ctx, store, kept, budget)
}

func readFormation(ctx context.Context, store, kept string, budget time.Duration) (f cassandra.Formation, note string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, budget, fmt.Errorf("not within %s", budget))
	defer cancel()
	var v payment.Values
	err = Until(ctx, store+" gives its parameters", func(ctx context.Context) (err error) {
		v, err = parametersOf(ctx, store+"/params")
		return err
	})
	if err == nil {
		if f, err = cassandra.ParseFormation(v.Values); err != nil {
			return f, "", err
		}
		if err := keepFormation(kept, f); err != nil {
			return f, "", err
		}
		return f, fmt.Sprintf("parameters at version %d: %s", v.Version, f), nil
	}
	b, kerr := os.ReadFile(kept)
	if kerr == nil {
		kerr = json.Unmarshal(b, &f)
	}
	if kerr != nil {
		if errors.Is(kerr, fs.ErrNotExist) {
			kerr = errors.New("and none were read before")
		}
		return cassandra.Formation{}, "", fmt.Errorf("read the region's parameters: %w; %w", err, kerr)
	}
	return f, fmt.Sprintf("the parameters that were read last, %s: %s", f, strings.ReplaceAll(err.Error(), "\n", " ")), nil
}

func parametersOf(ctx context.Context, url string) (v payment.Values, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return v, err
	}
	res, err := web().Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return v, fmt.Errorf("it answers %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&v); err != nil {
		return v, fmt.Errorf("read its answer: %w", err)
	}
	return v, nil
}

// keepFormation replaces the file whole.
func keepFormation(path string, f cassandra.Formation) error {
	b, err := json.Marshal(f)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o750)
	}
	if err == nil {
		err = os.WriteFile(path+".new", append(b, '\n'), 0o640)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keep the parameters that were read: %w: %w", topology.ErrEnvironment, err)
	}
	return nil
}

// Keeping are the parameters by which a region's Cassandra nodes stay in their ring when one of them loses its data (article 002,
// note ※8): it takes its old place, and its data from the others. Its seeds are the other region's nodes, as a node that is its own
// seed takes no data.
func Keeping(p plan.Plan, site topology.Site) map[string]string {
	var seeds []string
	for _, n := range p.Of("", topology.Cassandra) {
		if n.Site != site {
			seeds = append(seeds, n.Broadcast)
		}
	}
	return map[string]string{payment.ParamSeeds: strings.Join(seeds, ","), payment.ParamBootstrap: "true", payment.ParamReplace: "true"}
}
