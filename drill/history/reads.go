package history

// KindRead marks ReadData: records that a drill had planted were looked for in a region.
const KindRead = "read"

// ReadData is one look for planted records in a region, as a customer of that region would see them (LOCAL_QUORUM). The read
// was answered: one that was refused is an error of the drill, and no mark.
type ReadData struct {
	Site  string `json:"site"`  // where they were read
	Of    string `json:"of"`    // one of ReadOf…
	Asked []int  `json:"asked"` // records that were looked for
	Found []int  `json:"found"` // those that were there
}

// Records that a drill plants.
const (
	ReadOfKept    = "kept"    // written in both regions before the cut, and never deleted: every region must give them
	ReadOfDeleted = "deleted" // written in both regions before the cut, and deleted by the region that serves: none may give them
	ReadOfCutOff  = "cut-off" // taken by the region that was cut off: the region that serves must never get them
)

// KindEmptied marks EmptiedData: a node lost its volume, and takes part again.
const KindEmptied = "emptied"

// EmptiedData is a Cassandra node that was killed, lost its volume and was started again, with the planted records that it gave by
// itself (LOCAL_ONE).
type EmptiedData struct {
	Site    string `json:"site"`
	Node    string `json:"node"`
	Asked   []int  `json:"asked"`   // records that it was asked for
	Held    []int  `json:"held"`    // those that it gave before
	Holds   []int  `json:"holds"`   // those that it gave once it took part again
	Removed bool   `json:"removed"` // its ring refused it until its old self was removed; false: it took its old place
}
