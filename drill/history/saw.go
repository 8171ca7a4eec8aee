package history

// Keys of Entry.Saw that judges read. A step that proves one of these journals it with its note, act or confirm.
const (
	SawEpoch        = "epoch"      // number: of the epoch row
	SawEpochSite    = "epoch_site" // region that the epoch row names
	SawExecutedFrom = "fenced"     // gtid_executed of the primary, while nobody can write to it
	SawExecutedTo   = "executed"   // gtid_executed of the replica that takes over, read after it
	SawRows         = "rows"       // number of Cassandra rows that both regions gave alike; beside it, by region, what each gave
)

// SawNumber reads a number that an entry saw, and whether it did. In memory it may be any integer, read from a journal it is a float.
func (e Entry) SawNumber(key string) (int64, bool) {
	switch n := e.Saw[key].(type) {
	case float64:
		return int64(n), true
	case int64:
		return n, true
	case int:
		return int64(n), true
	}
	return 0, false
}

// SawText reads a text that an entry saw, and whether it did.
func (e Entry) SawText(key string) (string, bool) {
	s, ok := e.Saw[key].(string)
	return s, ok
}
