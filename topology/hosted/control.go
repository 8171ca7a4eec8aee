package hosted

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// What the world process answers on its socket:
//
//	GET  /ping                          → {"id"}
//	GET  /nodes/NAME                    → {"state"}
//	POST /nodes/NAME/start[?alone=true] also stop, kill, pause, resume, wipe → {}
//	GET  /nodes/NAME/logs?n=N           → {"lines"}
//	GET  /zone                          → {"records"}
//	POST /zone {"name","to"}            → {}
//	POST /down                          → {} once everything has ended
//
// An error is {"error","kind"} with status 400, kind being one of the errors that package topology declares.
type (
	errorAnswer struct {
		Error string `json:"error"`
		Kind  string `json:"kind,omitempty"`
	}
	pingAnswer struct {
		ID string `json:"id"`
	}
	stateAnswer struct {
		State topology.State `json:"state"`
	}
	logsAnswer struct {
		Lines []string `json:"lines"`
	}
	zoneAnswer struct {
		Records []topology.Record `json:"records"`
	}
	pointRequest struct {
		Name string        `json:"name"`
		To   topology.Site `json:"to"`
	}
)

// kinds are the errors that keep their identity over the socket.
func kinds() map[string]error {
	return map[string]error{
		"unsupported": topology.ErrUnsupported, "unreachable": topology.ErrUnreachable,
		"unknown": topology.ErrUnknown, "environment": topology.ErrEnvironment,
	}
}

// operationBudget bounds an operation on a node when its caller gives no deadline.
const operationBudget = 60 * time.Second

func (w *owned) handler() http.Handler {
	m := http.NewServeMux()
	reply := func(rw http.ResponseWriter, v any, err error) {
		rw.Header().Set("Content-Type", "application/json")
		if err != nil {
			a := errorAnswer{Error: err.Error()}
			for name, kind := range kinds() {
				if errors.Is(err, kind) {
					a.Kind = name
				}
			}
			rw.WriteHeader(http.StatusBadRequest)
			v = a
		}
		_ = json.NewEncoder(rw).Encode(v) // a caller that has gone needs no answer
	}
	on := func(pattern string, f func(ctx context.Context, r *http.Request) (any, error)) {
		m.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), operationBudget)
			defer cancel()
			v, err := f(ctx, r)
			reply(rw, v, err)
		})
	}
	node := func(pattern string, f func(ctx context.Context, r *http.Request, n plan.Node) (any, error)) {
		on(pattern, func(ctx context.Context, r *http.Request) (any, error) {
			n, err := w.file.Plan.Node(r.PathValue("node"))
			if err != nil {
				return nil, err
			}
			return f(ctx, r, n)
		})
	}
	act := func(verb string, f func(ctx context.Context, n plan.Node) error) {
		node("POST /nodes/{node}/"+verb, func(ctx context.Context, _ *http.Request, n plan.Node) (any, error) {
			return struct{}{}, f(ctx, n)
		})
	}
	on("GET /ping", func(context.Context, *http.Request) (any, error) { return pingAnswer{w.file.ID}, nil })
	node("GET /nodes/{node}", func(ctx context.Context, _ *http.Request, n plan.Node) (any, error) {
		s, err := w.guard.State(ctx, n)
		return stateAnswer{s}, err
	})
	node("POST /nodes/{node}/start", func(ctx context.Context, r *http.Request, n plan.Node) (any, error) {
		return struct{}{}, w.guard.Start(ctx, n, r.URL.Query().Get("alone") == "true")
	})
	act("stop", w.guard.Stop)
	act("kill", w.guard.Kill)
	act("pause", w.guard.Pause)
	act("resume", w.guard.Resume)
	act("wipe", w.guard.Wipe)
	node("GET /nodes/{node}/logs", func(ctx context.Context, r *http.Request, n plan.Node) (any, error) {
		count, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil || count < 0 {
			return nil, fmt.Errorf("n is %q, a number of lines was expected", r.URL.Query().Get("n"))
		}
		lines, err := w.guard.Logs(ctx, n, count)
		return logsAnswer{lines}, err
	})
	on("GET /zone", func(ctx context.Context, _ *http.Request) (any, error) {
		records, err := w.zone.Records(ctx)
		return zoneAnswer{records}, err
	})
	on("POST /zone", func(ctx context.Context, r *http.Request) (any, error) {
		var q pointRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		return struct{}{}, w.zone.Point(ctx, q.Name, q.To)
	})
	on("POST /down", func(context.Context, *http.Request) (any, error) { return struct{}{}, w.down() })
	return m
}
