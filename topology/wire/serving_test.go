package wire

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// TestServing: a region serves once one of its nodes says so; one that waits for its database answers, and does not.
func TestServing(t *testing.T) {
	status := http.StatusServiceUnavailable
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	p := plan.Plan{Nodes: []plan.Node{
		{Name: "tokyo-app-1", Site: "tokyo", Kind: topology.App, Reach: map[topology.Service]string{topology.ServiceHTTP: "127.0.0.1:1"}},
		{Name: "tokyo-app-2", Site: "tokyo", Kind: topology.App, Reach: map[topology.Service]string{topology.ServiceHTTP: s.Listener.Addr().String()}},
		{Name: "osaka-app-1", Site: "osaka", Kind: topology.App, Reach: map[topology.Service]string{topology.ServiceHTTP: "127.0.0.1:1"}},
	}}
	if Serving(t.Context(), &p, "tokyo") {
		t.Error("a node that waits serves")
	}
	status = http.StatusOK
	if !Serving(t.Context(), &p, "tokyo") || Serving(t.Context(), &p, "osaka") {
		t.Errorf("%d: one of two nodes serves, and nobody in the other region", status)
	}
}
