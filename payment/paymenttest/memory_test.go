package paymenttest

import "testing"

func TestMemoryKeepsTheContract(t *testing.T) {
	Contract(t, func(t *testing.T) World {
		l := NewLedger(10, 1000, 1)
		return World{Ledger: l, Settler: l, Conserved: l.Conserved, SetEpoch: func(t *testing.T, n int64) { l.SetEpoch(n) }}
	})
}
