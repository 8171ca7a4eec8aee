// Package livetest lets tests that need real servers leave themselves out where nobody asked for them: `go test ./...` alone provisions nothing.
// Each says why, and how it is asked for. `.ci/run` accepts no test that left itself out.
package livetest

import (
	"os"
	"testing"
)

// Variable is 1 where tests that need real servers were asked for. make test sets it, and provisions what they need: from then on a
// server that is not there is a failure.
const Variable = "KIRIKAE_LIVE"

// withoutDocker is set where no Docker engine can be had; make test sets it, and says so.
const withoutDocker = "KIRIKAE_WITHOUT_DOCKER"

// Asked says whether tests that start real servers were asked for.
func Asked() bool { return os.Getenv(Variable) == "1" }

// EngineAsked says whether tests that need a Docker engine were, too.
func EngineAsked() bool { return Asked() && os.Getenv(withoutDocker) == "" }

// Servers leaves the test out where real servers were not asked for.
func Servers(t testing.TB) {
	t.Helper()
	if !Asked() {
		t.Skip("starts real servers, which go test alone does not provision: make test does, and sets " + Variable + "=1")
	}
}

// Engine leaves the test out where real servers were not asked for, or no Docker engine can be had.
func Engine(t testing.TB) {
	t.Helper()
	Servers(t)
	if !EngineAsked() {
		t.Skip("needs a Docker engine, and " + withoutDocker + " says that none can be had here")
	}
}
