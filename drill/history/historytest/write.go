package historytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kirikae/kirikae/drill/history"
)

// Write makes a run folder of a run, as a drill would have left it: what history.Load gives back is the run again.
func Write(run *history.Run, folder string) error {
	if err := history.WriteJSON(filepath.Join(folder, history.MetaFile), run.Meta); err != nil {
		return err
	}
	rec, err := history.NewRecorder(folder, history.Monotonic{})
	if err != nil {
		return err
	}
	for _, op := range run.Operations {
		begun := op
		rec.Invoke(&begun)
		if begun.ID != op.ID {
			rec.Close()
			return fmt.Errorf("write run %s: operations are not numbered from 1 in order: %d comes as number %d", folder, op.ID, begun.ID)
		}
		if op.Finished != 0 || op.Outcome == history.Shed {
			rec.Complete(op)
		}
	}
	for _, k := range run.Marks {
		var data any
		if len(k.Data) > 0 {
			data = k.Data
		}
		rec.MarkAt(k.T, k.Kind, k.Name, data)
	}
	if err := rec.Close(); err != nil {
		return err
	}
	var journal bytes.Buffer
	for _, e := range run.Journal {
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write run %s: %w", folder, err)
		}
		journal.Write(append(b, '\n'))
	}
	if err := os.WriteFile(filepath.Join(folder, history.JournalFile), journal.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write run %s: %w", folder, err)
	}
	return history.WriteJSON(filepath.Join(folder, history.EvidenceFile), run.Evidence)
}
