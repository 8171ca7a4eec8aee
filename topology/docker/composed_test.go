package docker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
	"github.com/kirikae/kirikae/topology/containers"
)

// found is a composed world as it would be found.
func found(t *testing.T) compose.Found {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := compose.Found{Plan: compose.Layout(top), Secret: "s", Containers: map[string]compose.Adopted{}, Images: []topology.Image{
		{Name: containers.ImageMySQL, Reference: "kirikae/mysql:built", ID: "sha256:m"}, {Name: containers.ImagePayment, Reference: "kirikae/payment:built", ID: "sha256:p"},
	}}
	for _, c := range containers.Specs(f.Plan, f.Options()) {
		f.Containers[c.Name] = compose.Adopted{User: "1:" + c.Image, Labels: map[string]string{"com.docker.compose.service": c.Name}}
	}
	return f
}

// TestSuccessor: what takes the place of a composed container is still compose's, and an operator's start of it is a real one.
func TestSuccessor(t *testing.T) {
	f := found(t)
	m := &machines{composed: &f}
	for _, c := range containers.Specs(f.Plan, f.Options()) {
		s := m.successor(c)
		if s.Name != c.Name || s.Labels["com.docker.compose.service"] != c.Name || s.Labels[containers.LabelWorld] != compose.World || s.Labels[containers.LabelOwner] != "" {
			t.Errorf("%s: %s with %v", c.Name, s.Name, s.Labels)
		}
		rests, still := slices.Contains(c.Entrypoint, "rest"), slices.Contains(s.Entrypoint, "rest")
		if still || rests != (!c.Start) {
			t.Errorf("%s rests at first: %v; its successor: %v", c.Name, rests, still)
		}
		if (&machines{}).successor(c).Labels["com.docker.compose.service"] != "" {
			t.Errorf("%s of a world of our own has labels of compose", c.Name)
		}
	}
}

func TestSetOf(t *testing.T) {
	set := setOf(found(t))
	got, err := set.Get(containers.ImagePayment)
	if err != nil || got.User != "1:payment" || got.ID != "sha256:p" || got.Install != nil || len(set) != 2 {
		t.Errorf("%+v, %v", set, err)
	}
}

// TestNothingPlanted: the composed world's containers are there already.
func TestNothingPlanted(t *testing.T) {
	r, err := NewComposed(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Create(context.Background(), topology.Topology{}, topology.Options{Defects: map[string][]string{"app": {"--defect", "x"}}})
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "nothing can be planted") {
		t.Error(err)
	}
	if r.Name() != "compose" || !r.lasting {
		t.Errorf("%+v", r)
	}
}
