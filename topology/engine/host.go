package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/moby/client"
)

// surroundings are what the place of the engine follows from.
type surroundings struct {
	env     func(string) string
	config  string // docker's folder of configuration; "" none
	sockets []string
}

func machine() surroundings {
	s := surroundings{env: os.Getenv, config: os.Getenv("DOCKER_CONFIG"), sockets: []string{"/var/run/docker.sock"}}
	if home, err := os.UserHomeDir(); err == nil && s.config == "" {
		s.config = filepath.Join(home, ".docker")
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" { // where a rootless engine listens
		s.sockets = append(s.sockets, filepath.Join(dir, "docker.sock"))
	}
	return s
}

// host is where the engine is said to be, and by whom.
func (s surroundings) host() (host, source string, err error) {
	if h := s.env(client.EnvOverrideHost); h != "" {
		return h, client.EnvOverrideHost, nil
	}
	name := s.env("DOCKER_CONTEXT")
	if name == "" {
		var f struct {
			CurrentContext string `json:"currentContext"`
		}
		if err := read(filepath.Join(s.config, "config.json"), &f); err != nil {
			return "", "", err
		}
		name = f.CurrentContext
	}
	if name != "" && name != "default" {
		h, err := s.context(name)
		return h, "context " + name, err
	}
	for _, path := range s.sockets {
		if _, err := os.Stat(path); err == nil {
			return "unix://" + path, "default", nil
		}
	}
	return "unix://" + s.sockets[0], "default", nil
}

// context is the host of a context of docker's command line, which keeps each in a folder named by the digest of its name.
func (s surroundings) context(name string) (string, error) {
	digest := sha256.Sum256([]byte(name))
	path := filepath.Join(s.config, "contexts", "meta", hex.EncodeToString(digest[:]), "meta.json")
	var f struct {
		Endpoints map[string]struct{ Host string }
	}
	if err := read(path, &f); err != nil {
		return "", err
	}
	h := f.Endpoints["docker"].Host
	if h == "" {
		return "", fmt.Errorf("docker's context %q names no host", name)
	}
	return h, nil
}

// read reads a file of JSON; one that is not there is empty.
func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
