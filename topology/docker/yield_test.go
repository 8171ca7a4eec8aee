package docker

import "testing"

// TestUsualShares: what is given back is what a container has that was given nothing.
func TestUsualShares(t *testing.T) {
	weight := func(shares int64) int64 { return 1 + (shares-2)*9999/262142 } // opencontainers/runc, ConvertCPUSharesToCgroupV2Value
	if w := weight(usualShares("2")); w != 100 {
		t.Errorf("version 2: weight %d", w)
	}
	if s := usualShares("1"); s != 1024 {
		t.Errorf("version 1: %d shares", s)
	}
}
