package history

// SchemaVersion is the version of the run folder's files. It rises when a reader of the older one could misread a newer one.
const SchemaVersion = 1

// VolumesMemory is Meta.Volumes of a run whose stores kept their data in memory: it drilled no disk, and its reports say so.
const VolumesMemory = "memory"

// Meta says what a run was: who made it, of what, with which promises. It is written before the world starts and again when
// the run ends.
type Meta struct {
	Schema    int               `json:"schema"`
	Name      string            `json:"name"`              // the scenario's name, as the verdict prints it
	Feature   string            `json:"feature"`           // path of the feature file
	Line      int               `json:"line"`              // line of the scenario in it
	Tags      []string          `json:"tags"`              // of the scenario
	Steps     []string          `json:"steps"`             // its sentences
	Seed      uint64            `json:"seed"`              // everything random in the drill comes from it
	Runtime   string            `json:"runtime"`           // local, docker
	Volumes   string            `json:"volumes,omitempty"` // where the stores kept their data: disk, memory; "": disk, in older runs
	Simulated bool              `json:"simulated"`
	Engines   map[string]string `json:"engines"` // product → version, as the servers themselves say
	Images    []Image           `json:"images,omitempty"`
	Topology  string            `json:"topology"` // its name
	Active    string            `json:"active"`   // site that serves at the start (tokyo)
	Standby   string            `json:"standby"`  // site that takes over (osaka)
	BootID    string            `json:"boot_id"`
	PID       int               `json:"pid"`                 // of the drill process
	Origin    Instant           `json:"origin"`              // the run's zero
	Started   string            `json:"started"`             // wall time, RFC 3339, for people only
	Ended     Instant           `json:"ended"`               // 0: the drill was killed, or is still running
	Interrupt string            `json:"interrupt,omitempty"` // why the drill ended early: signal, or the error that stopped it
	Planted   []string          `json:"planted,omitempty"`   // defects planted on purpose
	Procedure string            `json:"procedure,omitempty"`

	Objectives   Objectives        `json:"objectives"`
	Facts        map[string]string `json:"facts,omitempty"`          // state that the drill must leave; nil: the scenario does not say
	FactsAsStart bool              `json:"facts_as_start,omitempty"` // it must leave the state that it began with (Evidence.StartFacts)
	Calm         bool              `json:"calm,omitempty"`           // no site is lost, and no fault is injected
	Faulted      bool              `json:"faulted,omitempty"`        // … but for faults that lose no site
	Emptied      int               `json:"emptied,omitempty"`        // Cassandra nodes that fail and lose their volumes
	TakenBack    bool              `json:"taken_back,omitempty"`     // a procedure is aborted before it commits, and every step of it taken back
	Level        []string          `json:"level,omitempty"`          // windows (Run.Windows) in which customers must notice nothing
	Expectation  *Expectation      `json:"expectation,omitempty"`    // what the scenario says the verdict must be; nil: PASS
}

// Image is what containers of the world were made from.
type Image struct {
	Name      string `json:"name"`      // mysql
	Reference string `json:"reference"` // mysql:9.7.4
	ID        string `json:"id"`        // sha256:…
	Source    string `json:"source"`    // official, built
}

// Objectives are the promises that the judges hold a run against. Zero values are not promises: Default fills them.
type Objectives struct {
	Recovery     Recovery `json:"recovery"`
	Loss         Loss     `json:"loss"`
	DualMax      Duration `json:"dual_writable_max"`       // longest time in which two sites accepted writes
	PlannedMax   Duration `json:"planned_max,omitempty"`   // longest outage during a planned switchover, 5 s
	FailbackMax  Duration `json:"failback_max,omitempty"`  // likewise during a failback; PlannedMax
	LevelFloor   Duration `json:"level_floor,omitempty"`   // p99 that customers do not notice, however fast the steady state was; 250 ms
	PlannedAcked int      `json:"planned_acked,omitempty"` // payments acknowledged in the last 2 s before a planned fence, below which 0 lost means nothing; 20
	NoZombies    bool     `json:"no_zombies,omitempty"`    // not one acknowledgement by a site after its successor's first
	LagMin       Duration `json:"lag_min"`                 // replication lag that must have been measured before the fault
}

// Recovery is the RTO target and the level (001's RLO) at which the platform counts as recovered
// (reference: verification, 4.3).
type Recovery struct {
	Target   Duration `json:"target"`    // since the decision (002: one hour)
	Success  float64  `json:"success"`   // X: share of good answers, 0.999
	Goodput  float64  `json:"goodput"`   // R: share of the baseline's rate, 0.95
	Hold     Duration `json:"hold"`      // Y: how long the level must hold, 10 s
	Window   Duration `json:"window"`    // V: window that tells an outage from a blip, 1 s
	LatMin   Duration `json:"lat_min"`   // L is 3 × the baseline's p99, at least this
	Baseline Duration `json:"baseline"`  // length of the steady state that the baseline is taken from, 10 s
	MinProbe float64  `json:"min_probe"` // probes a second below which the load is too thin to say
}

// Loss is the RPO target, for acknowledged payments that never left the lost site.
type Loss struct {
	MaxCount int      `json:"max_count"`
	MaxAge   Duration `json:"max_age"`   // age, at the cut, of the oldest one
	MinAcked int      `json:"min_acked"` // acknowledged payments in the last second before the cut, below which 0 lost means nothing
}

// Expectation is the verdict that a scenario states, and the check that must give it.
type Expectation struct {
	Verdict string `json:"verdict"`         // PASS, FAIL, INCONCLUSIVE
	Check   string `json:"check,omitempty"` // name of the check that must have that verdict; "" where it is PASS
}
