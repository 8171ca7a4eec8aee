package fence

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/kirikae/kirikae/payment/internal/mono"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// State of a Guard's MySQL.
type State string

// States of a Guard.
const (
	Starting State = "starting" // nothing is proved yet; customers are kept out by offline_mode
	Holding  State = "holding"  // the lease is held: writable, unless what is persisted says otherwise
	Fencing  State = "fencing"  // being made read-only, or killed
	Fenced   State = "fenced"   // proved read-only, readable
)

// Status is what a Guard says of itself in its status file.
type Status struct {
	Site   string `json:"site"`
	Node   string `json:"node"`
	State  State  `json:"state"`
	Since  int64  `json:"since"`           // CLOCK_MONOTONIC in nanoseconds
	Why    string `json:"why,omitempty"`   // it is in this state
	Term   int64  `json:"term,omitempty"`  // of the lease held
	Until  int64  `json:"until,omitempty"` // end of the lease held, CLOCK_MONOTONIC in nanoseconds
	Guard  int    `json:"guard"`           // process numbers
	Mysqld int    `json:"mysqld"`
}

// ReadStatus reads a Guard's status file.
func ReadStatus(path string) (Status, error) {
	var s Status
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read the guard's status: %w", err)
	}
	if err := web.Strict(b, &s); err != nil {
		return s, fmt.Errorf("read the guard's status %s: %w", path, err)
	}
	return s, nil
}

func writeStatus(path string, s Status) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write the guard's status: %w", err)
	}
	if err := replace(path, append(b, '\n'), false); err != nil {
		return fmt.Errorf("write the guard's status: %w", err)
	}
	return nil
}

// monotonic is an instant of this process as CLOCK_MONOTONIC, which other processes of this boot share. 0: no instant.
func monotonic(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return mono.Now() + int64(time.Until(t))
}
