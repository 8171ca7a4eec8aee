package local

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

func TestSmoke(t *testing.T) {
	if os.Getenv("KIRIKAE_LIVE") != "1" {
		t.Skip("KIRIKAE_LIVE=1 starts real servers")
	}
	in, err := provision.Find("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Install: in, Paymentd: os.Getenv("PAYMENTD")})
	if err != nil {
		t.Fatal(err)
	}
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	dir := t.TempDir()
	if d := os.Getenv("RUNDIR"); d != "" {
		dir = d
	}
	w, err := r.Create(ctx, top, topology.Options{Folder: dir, Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sctx, end := context.WithCancel(context.Background())
	end()
	if err := Serve(sctx, w, nil); err != nil {
		t.Error(err)
	}
	t.Logf("down %s", time.Since(began))
}
