package local

import (
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/topologytest"
)

func host() topologytest.Host {
	return topologytest.Host{
		Runtime: func(paymentd string) (topology.Runtime, error) {
			in, err := provision.Find("")
			if err != nil {
				return nil, err
			}
			return New(Config{Install: in, Paymentd: paymentd})
		},
		Serve:    Serve,
		Topology: "../../fixtures/topologies/two-region.yaml",
	}
}

func TestContract(t *testing.T) { topologytest.Run(t, host()) }
