package history

// Kinds of marks about a region that is to take the work back.
const (
	KindGate      = "gate"      // GateData: the readiness gate was read
	KindDatabases = "databases" // DatabasesData: a replica was held against the server that it follows
)

// GateData is one reading of the readiness gate of a planned switch.
type GateData struct {
	From       string          `json:"from"`
	To         string          `json:"to"`
	Planted    string          `json:"planted,omitempty"` // violation that was planted; "": the world is ready
	Violated   []string        `json:"violated"`          // names of the conditions that did not hold
	Conditions []GateCondition `json:"conditions"`        // all of them
}

// GateCondition is one condition, with what was read.
type GateCondition struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	Saw   string `json:"saw"`
}

// DatabasesData is what two servers held of which one follows the other, once the follower had all that the other had.
type DatabasesData struct {
	Source         string   `json:"source"`    // node
	Follower       string   `json:"follower"`  // node
	Following      bool     `json:"following"` // both its threads run, without an error
	SourceExecuted string   `json:"source_gtid_executed"`
	Executed       string   `json:"gtid_executed"` // of the follower, read before the source's
	Payments       int      `json:"payments"`      // rows that were compared
	Keys           []string `json:"keys"`          // payments whose rows only the follower has, or has otherwise
}
