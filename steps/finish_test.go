package steps

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// TestWorldDownEndsTheAsking: nobody asks a reconciler once the world is down, also where the drill itself goes on.
func TestWorldDownEndsTheAsking(t *testing.T) {
	asked := make(chan struct{}, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		_, _ = io.WriteString(w, `{"reports": [{"t": 7}]}`)
	}))
	defer server.Close()
	n := &fakeNode{name: "tokyo-reconcile-1", site: "tokyo", kind: topology.Reconciler, state: topology.Stopped, reach: strings.TrimPrefix(server.URL, "http://")}
	d := fakeDrill(t, &fakeWorld{nodes: []*fakeNode{n}}, nil)
	d.process = &childWorld{stdin: io.NopCloser(nil), ended: make(chan struct{})}
	close(d.process.ended)
	if err := d.startReconciler(d.ctx, "tokyo"); err != nil {
		t.Fatal(err)
	}
	<-asked
	<-asked // what the first one told is kept
	d.worldDown()
	d.worldDown()
	over := make(chan struct{})
	go func() {
		defer close(over)
		d.interrupted.told.asking.Wait()
	}()
	select {
	case <-over:
	case <-time.After(10 * reconcileLook):
		t.Fatal("a reconciler is asked on")
	}
	if runs := d.interrupted.told.stop(); len(runs) != 1 || runs[0].T != 7 || d.ctx.Err() != nil {
		t.Errorf("%+v was told, and the drill is at %v", runs, d.ctx.Err())
	}
}
