package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Variables of testcontainers-go.
const (
	hostOverride   = "TESTCONTAINERS_HOST_OVERRIDE"
	ryukDisabled   = "TESTCONTAINERS_RYUK_DISABLED"
	ryukPrefix     = "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX"
	sessionID      = "TESTCONTAINERS_SESSION_ID"
	sessionMadeBy  = "KIRIKAE_TESTCONTAINERS_SESSION_MADE_BY" // our own: the process that chose the session
	bytesOfSession = 16
)

// Prepare sets the environment that testcontainers-go reads, before it reads it (once for a process), and says whether its reaper is
// going to run. What the user has set stays as it is.
//
// Host: on a local socket the published ports are on localhost. Left alone, testcontainers looks for /.dockerenv and dials the
// default gateway where it is, which is also the case on machines that merely were a container's file system once.
//
// Reaper: used where its image is on the engine already. An image that cannot be had would fail every container, and worlds are
// swept by their owner's label anyway.
//
// Session: one for each process, also for one whose parent has one. Left alone, it follows from the parent process, and two orphans
// share one reaper; inherited, the reaper of a world that has ended could remove the next one.
func (e *Engine) Prepare(ctx context.Context, reaperImage string) (reaper bool, err error) {
	set := map[string]string{}
	if e.Source != client.EnvOverrideHost {
		set[client.EnvOverrideHost] = e.Host
	}
	if e.Local {
		set[hostOverride] = "localhost"
	}
	self := strconv.Itoa(os.Getpid())
	if by := os.Getenv(sessionMadeBy); by != "" && by != self { // inherited from a parent that chose its own, not the user's
		if err := os.Unsetenv(sessionID); err != nil {
			return false, err
		}
	}
	if os.Getenv(sessionID) == "" {
		id := make([]byte, bytesOfSession)
		_, _ = rand.Read(id) // never fails
		if err := errors.Join(os.Setenv(sessionID, hex.EncodeToString(id)), os.Setenv(sessionMadeBy, self)); err != nil {
			return false, err
		}
	}
	if prefix := os.Getenv(ryukPrefix); prefix != "" {
		reaperImage = prefix + "/" + reaperImage
	}
	switch _, err := e.Client.ImageInspect(ctx, reaperImage); {
	case err == nil:
		reaper = true
	case errdefs.IsNotFound(err):
		set[ryukDisabled] = "true" // literally: nothing else disables it
	default:
		return false, fmt.Errorf("look for the reaper's image: %w", err)
	}
	if v := os.Getenv(ryukDisabled); v != "" {
		reaper = v != "true"
	}
	for name, value := range set {
		if os.Getenv(name) == "" {
			err = errors.Join(err, os.Setenv(name, value))
		}
	}
	return reaper, err
}
