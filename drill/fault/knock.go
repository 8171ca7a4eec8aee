package fault

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/topology"
)

// Knock opens a new connection to the door of a service, says what its node must answer and hears the answer, as long as ctx
// allows. Nothing changes at the node. It is how an operator proves that a link that was closed leads through again.
func Knock(ctx context.Context, service topology.Service, door topology.Door) error {
	switch f, _ := call(ctx, protocolOf(service), door.Reach); f {
	case answered:
		return nil
	case refused:
		return fmt.Errorf("knock at the door of %s: refused", door.Node)
	case closed:
		return fmt.Errorf("knock at the door of %s: closed before an answer", door.Node)
	}
	return fmt.Errorf("knock at the door of %s: no answer in time", door.Node)
}
