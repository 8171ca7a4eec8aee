package history

// KindDeath marks that an operator was killed, on purpose. Name: the step; DeathData.
const KindDeath = "death"

// DeathData says where an operator was killed.
type DeathData struct {
	Procedure string `json:"procedure"` // as the drill started it
	Point     string `json:"point"`     // of the step: before-intent, after-intent, after-act, after-record, …
}
