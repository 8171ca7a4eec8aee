package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"

	"github.com/kirikae/kirikae/drill/history"
)

// sentence is one sentence of Gherkin: one method, one call. A sentence that states a promise (promise ≠ nil) is read before
// the drill starts, so that every judge knows it; do then looks up what the judges said.
type sentence struct {
	keyword string
	example string
	pattern *regexp.Regexp
	do      any // method of the drill
	promise func(p *promised, args []string) error
}

// experiment is what a drill can say, in the order in which it says it: world up, load, steady state, fault, decision,
// procedure, load again, final reads, judges. It reads as the experiment itself.
func experiment(d *Drill) []sentence {
	return slices.Concat(commonSentences(d), judgeSentences(d), fencingSentences(d), handoverSentences(d), ringSentences(d), volumeSentences(d), readinessSentences(d),
		roundTripSentences(d), interruptedSentences(d), paymentSentences(d))
}

// spoken is every sentence without a drill, for those who read scenarios: its patterns are compiled once.
var spoken = sync.OnceValue(func() []sentence { return experiment(nil) })

// commonSentences are those that nearly every drill is made of. The others stand beside what they do, one file a subject.
func commonSentences(d *Drill) []sentence {
	return []sentence{
		{"Given", `the app has the defect "ack-before-commit"`, re(`the app has the defect "([^"]+)"`), d.plantDefect, promiseDefect},
		{"Given", `traffic between the sites goes around the proxies`, re(`traffic between the sites goes around the proxies`), d.plantBypass, nil},
		{"Given", `the platform of "two-region.yaml" is up`, re(`the platform of "([^"]+)" is up`), d.worldUp, promiseTopology},
		{"Given", `customers make 50 payments a second, 10 % of them ignore the DNS TTL`, re(`customers make (\d+) payments? a second, (\d+) % of them ignore the DNS TTL`), d.payments, nil},
		{"Given", `100 write probes a second measure the outage`, re(`(\d+) write probes? a second measure the outage`), d.probes, nil},
		{"Given", `5 payment keys a second are repeated on purpose`, re(`(\d+) payment keys? a second (?:is|are) repeated on purpose`), d.repeats, nil},
		{"Given", `the steady state has held for 10 s`, re(`the steady state has held for (DURATION)`), d.steadyState, promiseBaseline},
		{"Given", `the DNS record "campaign" is added, younger than the procedure`, re(`the DNS record "([^"]+)" is added, younger than the procedure`), d.addRecord, promiseUp},
		{"Given", `journal events of tokyo reach osaka 1 s late`, re(`journal events of (\w+) reach (\w+) (DURATION) late`), d.eventsLate, promiseEventsLate},
		{"Given", `replication from tokyo to osaka lags by at least 300 ms`, re(`replication from (\w+) to (\w+) lags by at least (DURATION)`), d.replicationLag, promiseLag},
		{"Given", `osaka applies what it receives 2 s late`, re(`(\w+) applies what it receives (DURATION) late`), d.applyLate, promiseFirstRegion},
		{"Given", `a person on duty changes the DNS records 1 s after being asked`, re(`a person on duty changes the DNS records (DURATION) after being asked`), d.personOnDuty, nil},
		{"Given", `a person on duty does what is asked by hand 1 s after being asked`, re(`a person on duty does what is asked by hand (DURATION) after being asked`), d.personOnDuty, nil},
		{"Given", `the person in charge approves 1 s after being asked`, re(`the person in charge approves (DURATION) after being asked`), d.approvals, nil},

		{"When", `tokyo is lost`, re(`(\w+) is lost`), d.regionLost, promiseRegions},
		{"When", `tokyo is isolated from osaka but stays alive`, re(`(\w+) is isolated from (\w+) but stays alive`), d.regionIsolated, promiseRegions},
		{"When", `the person in charge decides after 3 s`, re(`the person in charge decides after (DURATION)`), d.decide, nil},
		{"When", `the operator runs "switchover"`, re(`the operator runs "([^"]+)"`), d.operate, promiseProcedure},
		{"When", `the operator runs "switchover" again`, re(`the operator runs "([^"]+)" again`), d.operate, promiseProcedure},
		{"When", `the operator runs "switchover" and is killed at step 2 "after-act"`, re(`the operator runs "([^"]+)" and is killed at step ([\d.]+) "([a-z-]+)"`), d.operateAndDie, promiseProcedure},
		{"When", `the load goes on for 20 s`, re(`the load goes on for (DURATION)`), d.loadGoesOn, promiseLoad},
		{"When", `the drill ends`, re(`the drill ends`), d.end, promiseUp},

		{"Then", `the fault was real and the harness sane`, re(`the fault was real and the harness sane`), d.faultReal, nil},
		{"Then", `every step of the procedure was confirmed`, re(`every step of the procedure was confirmed`), d.procedureConfirmed, nil},
		{"Then", `customers are out for at most 60 s after the decision`, re(`customers are out for at most (DURATION) after the decision`), d.recovered, promiseRecovery},
		{"Then", `at most 200 acknowledged payments are lost, none of them older than 2 s`, re(`at most (\d+) acknowledged payments? (?:is|are) lost, none of them older than (DURATION)`), d.lossWithin, promiseLoss},
		{"Then", `no acknowledged payment is dropped, and none was never durable`, re(`no acknowledged payment is dropped, and none was never durable`), d.nothingDropped, nil},
		{"Then", `no customer is charged twice`, re(`no customer is charged twice`), d.chargedOnce, nil},
		{"Then", `money is conserved in every snapshot`, re(`money is conserved in every snapshot`), d.moneyConserved, nil},
		{"Then", `the stores agree but for the losses`, re(`the stores agree but for the losses`), d.storesAgree, nil},
		{"Then", `two regions accepted writes for at most 50 ms`, re(`two regions accepted writes for at most (DURATION)`), d.oneWriter, promiseOneWriter},
		{"Then", `the end facts are those of "switchover_forced"`, re(`the end facts are those of "([^"]+)"`), d.endFacts, promiseFacts},
		{"Then", `the verdict is PASS`, re(`the verdict is (PASS)`), d.verdictIs, promiseVerdict},
		{"Then", `the verdict is FAIL by "dropped"`, re(`the verdict is (FAIL|INCONCLUSIVE) by "([^"]+)"`), d.verdictBy, promiseVerdict},
	}
}

// re compiles a sentence's pattern, anchored; DURATION stands for "300 ms", "10 s", "5 min".
func re(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, "DURATION", `\d+(?:\.\d+)? (?:ms|s|min)`) + "$")
}

// duration reads what DURATION matched.
func duration(s string) (time.Duration, error) {
	s = strings.ReplaceAll(s, " ", "")
	d, err := time.ParseDuration(strings.Replace(s, "min", "m", 1))
	if err != nil {
		return 0, usagef("%q is not a duration such as %q", s, "300 ms")
	}
	return d, nil
}

// match finds the sentence that a text is, or nil.
func match(text string) *sentence {
	for _, s := range spoken() {
		if s.pattern.MatchString(text) {
			return &s
		}
	}
	return nil
}

// Sentences lists an example of every sentence, with its keyword.
func Sentences() []string {
	var out []string
	for _, s := range spoken() {
		out = append(out, fmt.Sprintf("%-5s %s", s.keyword, s.example))
	}
	return out
}

func examples() []string {
	var out []string
	for _, s := range spoken() {
		out = append(out, s.example)
	}
	return out
}

// promises reads every promise of a scenario into meta, and holds every name in it against what exists, before anything starts.
func promises(s Scenario, meta *history.Meta) error {
	lines := strings.Split(string(s.content), "\n")
	p := &promised{meta: meta}
	for _, text := range s.Steps {
		m := match(text)
		if m == nil || m.promise == nil {
			continue
		}
		if err := m.promise(p, m.pattern.FindStringSubmatch(text)[1:]); err != nil {
			line, column := locate(lines, s.Line, text)
			return usagef("%s:%d:%d: %v", s.Feature, line, column, err)
		}
	}
	return nil
}

// register binds the sentences to one drill.
func register(sc *godog.ScenarioContext, d *Drill) {
	for _, s := range experiment(d) {
		switch s.keyword {
		case "Given":
			sc.Given(s.pattern, s.do)
		case "When":
			sc.When(s.pattern, s.do)
		default:
			sc.Then(s.pattern, s.do)
		}
	}
}
