package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

// BuildBinaries builds the programs that go into images, from the module at moduleDir into outDir: static, for Linux, and the
// same bytes from the same sources. A program that did not change keeps its file.
func BuildBinaries(ctx context.Context, moduleDir, outDir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("build programs for images: %w: %w", topology.ErrEnvironment, err)
	}
	out, err := filepath.Abs(outDir)
	if err != nil {
		return fmt.Errorf("build programs for images: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("build programs for images: %w: %w", topology.ErrEnvironment, err)
	}
	tmp, err := os.MkdirTemp(out, ".new-")
	if err != nil {
		return fmt.Errorf("build programs for images: %w: %w", topology.ErrEnvironment, err)
	}
	defer os.RemoveAll(tmp)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", tmp + string(filepath.Separator)}
	for _, p := range programs() {
		args = append(args, "./cmd/"+p)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = moduleDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=-mod=readonly")
	cmd.WaitDelay = 5 * time.Second
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs for images: %w: %s", errors.Join(context.Cause(ctx), err), text)
	}
	for _, p := range programs() {
		was, err := provision.HashFile(filepath.Join(out, p))
		is, e := provision.HashFile(filepath.Join(tmp, p))
		if e != nil {
			return fmt.Errorf("build programs for images: %w", e)
		}
		if err == nil && was == is {
			continue
		}
		if err := os.Rename(filepath.Join(tmp, p), filepath.Join(out, p)); err != nil {
			return fmt.Errorf("build programs for images: %w", err)
		}
	}
	return nil
}
