package procedure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

func (g Gate) parameters(ctx context.Context, e Estate) (string, error) {
	want := waiting()
	maps.Copy(want, g.Parameters)
	_, have, err := readParams(ctx, e, g.To)
	if err != nil {
		return "", err
	}
	var wrong, right []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			wrong = append(wrong, fmt.Sprintf("%s is %q, expected %q", name, have[name], want[name]))
		}
		right = append(right, name+"="+have[name])
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, ", "))
	}
	return strings.Join(right, " "), nil
}

// releaseParam says which release of the application a region starts.
const releaseParam = "app.release"

// release: the region's parameters say which release its application must be, and an application of another does not start. It must
// be the one that serves, or that served a moment ago and is stopped.
func (g Gate) release(ctx context.Context, e Estate) (string, error) {
	_, there, err := readParams(ctx, e, g.To)
	if err != nil {
		return "", err
	}
	_, here, err := readParams(ctx, e, g.From)
	if err != nil {
		return "", err
	}
	asked, err := able[Getter](e, "ask the application for its release")
	if err != nil {
		return "", err
	}
	serving := map[string]string{"the parameters of " + string(g.From): here[releaseParam]}
	for _, n := range e.Nodes(g.From, topology.App) {
		if state, err := n.State(ctx); err != nil || state != topology.Running {
			continue
		}
		status, body, err := asked.Get(ctx, n, "/status")
		if err != nil {
			return "", err
		}
		var s struct {
			Release string `json:"release"`
		}
		if err := json.Unmarshal(body, &s); err != nil || status != http.StatusOK {
			return "", fmt.Errorf("%s does not tell its release", n.Name())
		}
		serving[n.Name()] = s.Release
	}
	var wrong []string
	for _, who := range slices.Sorted(maps.Keys(serving)) {
		if serving[who] == "" || serving[who] != there[releaseParam] {
			wrong = append(wrong, fmt.Sprintf("%s says release %q, %s would start %q", who, serving[who], g.To, there[releaseParam]))
		}
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, ", "))
	}
	return fmt.Sprintf("release %s serves, and would start", there[releaseParam]), nil
}
