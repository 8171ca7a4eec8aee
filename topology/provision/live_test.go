package provision

import (
	"context"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology/livetest"
)

// The user's own cache is filled if it is not, and is then whole at once.
func TestEnsureLive(t *testing.T) {
	livetest.Servers(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	i, err := Ensure(ctx, Options{Log: func(l string) { t.Log(l) }})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	again, err := Ensure(ctx, Options{Log: func(l string) { t.Errorf("a second run said: %s", l) }})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a second run took %v, at most 1 s is wanted", took)
	}
	found, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Install{again, found} {
		if o.MySQL.Template != i.MySQL.Template || o.Java != i.Java || o.Cassandra.Archive != i.Cassandra.Archive {
			t.Errorf("got %+v, first %+v", o, i)
		}
	}
}
