package steps

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/fixtures"
)

func promiseBaseline(m *history.Meta, args []string) error {
	d, err := duration(args[0])
	m.Objectives.Recovery.Baseline = history.Duration(d)
	return err
}

func promiseLag(m *history.Meta, args []string) error {
	d, err := duration(args[2])
	m.Objectives.LagMin = history.Duration(d)
	return err
}

func promiseRecovery(m *history.Meta, args []string) error {
	d, err := duration(args[0])
	m.Objectives.Recovery.Target = history.Duration(d)
	return err
}

func promiseLoss(m *history.Meta, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%q is not a number of payments", args[0])
	}
	d, err := duration(args[1])
	m.Objectives.Loss.MaxCount, m.Objectives.Loss.MaxAge = n, history.Duration(d)
	return err
}

func promiseOneWriter(m *history.Meta, args []string) error {
	d, err := duration(args[0])
	m.Objectives.DualMax = history.Duration(d)
	return err
}

func promiseVerdict(m *history.Meta, args []string) error {
	if m.Expectation != nil {
		return fmt.Errorf("a scenario states one verdict, this one states two")
	}
	m.Expectation = &history.Expectation{Verdict: args[0]}
	if len(args) > 1 {
		m.Expectation.Check = args[1]
	}
	return nil
}

// promiseFacts reads fixtures/facts/NAME.json: the state that a drill must leave, as one canonical document.
func promiseFacts(m *history.Meta, args []string) error {
	b, err := fixtures.FS.ReadFile("facts/" + args[0] + ".json")
	if err != nil {
		known, _ := fs.Glob(fixtures.FS, "facts/*.json")
		return fmt.Errorf("no end facts %q; there are %s", args[0], strings.Join(known, ", "))
	}
	return json.Unmarshal(b, &m.Facts)
}

// defaults are the objectives of a scenario that does not state its own.
func defaults() history.Objectives {
	return history.Objectives{
		Recovery: history.Recovery{
			Target:  history.Duration(time.Hour), // 002: within one hour of the decision
			Success: 0.999, Goodput: 0.95, Hold: history.Duration(10 * time.Second), Window: history.Duration(time.Second),
			LatMin: history.Duration(100 * time.Millisecond), Baseline: history.Duration(10 * time.Second), MinProbe: 50,
		},
		Loss:    history.Loss{MaxCount: 200, MaxAge: history.Duration(2 * time.Second), MinAcked: 20},
		DualMax: history.Duration(50 * time.Millisecond),
	}
}
