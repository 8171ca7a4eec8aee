package steps

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
)

// readings is a gate that says, reading by reading, which condition does not hold ("": all do), and the last one again and again.
func readings(refused ...string) (read gateReader, made func() int) {
	n := 0
	return func(context.Context) procedure.Readiness {
		by := refused[min(n, len(refused)-1)]
		n++
		r := procedure.Readiness{From: "tokyo", To: "osaka"}
		for _, name := range procedure.Conditions() {
			r.Conditions = append(r.Conditions, procedure.Condition{Name: name, Holds: name != by, Saw: "x"})
		}
		return r
	}, func() int { return n }
}

// gateDrill is a drill that keeps what it records of the gate.
func gateDrill(t *testing.T) (*Drill, *[]history.GateData) {
	t.Helper()
	var all []history.GateData
	return fakeDrill(t, &fakeWorld{}, func(m history.Mark) {
		var g history.GateData
		if err := json.Unmarshal(m.Data, &g); err != nil || m.Kind != history.KindGate || m.Name != "osaka" {
			t.Errorf("mark %+v: %v", m, err)
		}
		all = append(all, g)
	}), &all
}

// TestGateAccepts: what passes by itself is waited for, and only the last reading counts.
func TestGateAccepts(t *testing.T) {
	d, marks := gateDrill(t)
	read, made := readings(procedure.ReadyHints, procedure.ReadyRing, "")
	if err := d.accepts(t.Context(), "wait", read); err != nil || made() != 3 {
		t.Errorf("%v after %d readings", err, made())
	}
	if len(*marks) != 1 || len((*marks)[0].Violated) != 0 || (*marks)[0].From != "tokyo" || len((*marks)[0].Conditions) != len(procedure.Conditions()) {
		t.Errorf("recorded %+v", *marks)
	}

	// An interrupted drill has not been refused anything.
	d, marks = gateDrill(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	read, _ = readings(procedure.ReadyHints)
	stop := errors.New("Ctrl-C")
	err := d.accepts(ctx, "wait until osaka may take over", func(ctx context.Context) procedure.Readiness {
		cancel(stop)
		return read(ctx)
	})
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), "wait until osaka may take over") || len(*marks) != 0 {
		t.Errorf("%v, recorded %+v", err, *marks)
	}
}

// TestUntilReadyLastReading: a reading that was cut off is no reading, and the error says what was waited for and what was seen last.
func TestUntilReadyLastReading(t *testing.T) {
	d, _ := gateDrill(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	whole, _ := readings(procedure.ReadyHints)
	cut, _ := readings(procedure.ReadyRing)
	n := 0
	r, err := d.untilReady(ctx, "wait for a ready world", func(ctx context.Context) procedure.Readiness {
		if n++; n == 1 {
			return whole(ctx)
		}
		<-ctx.Done()
		return cut(ctx)
	})
	if !slices.Equal(r.Violated(), []string{procedure.ReadyHints}) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", r.Violated(), err)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "wait for a ready world: ") || !strings.Contains(err.Error(), procedure.ReadyHints) {
		t.Error(err)
	}
}

// TestGateRefuses: nothing is planted in a world that is not ready, one reading of the planted world is recorded, and the mended world
// is waited for.
func TestGateRefuses(t *testing.T) {
	d, marks := gateDrill(t)
	read, made := readings(procedure.ReadyHints, "", procedure.ReadyParams, procedure.ReadyParams, "")
	var did []int
	err := d.refuses(t.Context(), procedure.ReadyParams, read, func(context.Context) (mending, error) {
		did = append(did, made())
		return func(context.Context) error {
			did = append(did, made())
			return nil
		}, nil
	})
	if err != nil || made() != 5 || !slices.Equal(did, []int{2, 3}) {
		t.Errorf("%v; planted and mended after %v of %d readings", err, did, made())
	}
	if len(*marks) != 1 || (*marks)[0].Planted != procedure.ReadyParams || !slices.Equal((*marks)[0].Violated, []string{procedure.ReadyParams}) {
		t.Errorf("recorded %+v", *marks)
	}
}
