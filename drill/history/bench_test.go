package history_test

import (
	"testing"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// BenchmarkLoad reads a run folder of a whole drill: what `kirikae check` does before it judges.
func BenchmarkLoad(b *testing.B) {
	folder := b.TempDir()
	if err := historytest.Write(historytest.Good(1), folder); err != nil {
		b.Fatal(err)
	}
	operations := 0
	for b.Loop() {
		r, err := history.Load(folder)
		if err != nil {
			b.Fatal(err)
		}
		operations = len(r.Operations)
	}
	b.ReportMetric(float64(operations), "operations")
}

// BenchmarkRecord is the cost of one operation: two records, each handed to the kernel before the call returns.
func BenchmarkRecord(b *testing.B) {
	r, err := history.NewRecorder(b.TempDir(), history.Monotonic{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		o := history.Operation{Stream: history.StreamPayment, Key: "payment-1-000001", Yen: 100, Intended: r.Now(), Sent: r.Now()}
		r.Invoke(&o)
		o.Outcome, o.Finished, o.Wire = history.OK, r.Now(), 1
		r.Complete(o)
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}
