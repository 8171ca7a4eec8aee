package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// static builds a static program that says nothing, once for all tests.
func static(t *testing.T) []byte {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", "x", "main.go")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(folder, "x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The digests of images without servers depend on programs, paths and users, and on nothing else.
func TestInputs(t *testing.T) {
	program := static(t)
	fill := func(paymentd []byte) string {
		bin := t.TempDir()
		for name, b := range map[string][]byte{"inside": program, "paymentd": paymentd} {
			if b == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(bin, name), b, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return bin
	}
	table, err := DefaultTable()
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	of := func(table Table, bin string) inputs {
		t.Helper()
		in, err := inputsOf(t.Context(), table, Options{Bin: bin, Cache: empty})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	first, same := of(table, fill(program)), of(table, fill(program))
	for _, n := range []string{"wan", "payment"} {
		a, err := first.plan(n)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := same.plan(n)
		if a.tag != b.tag || a.digest != b.digest {
			t.Errorf("%s: %s and %s", n, a.tag, b.tag)
		}
		if want := "kirikae/" + n + ":local-" + a.digest[:12]; a.tag != want {
			t.Errorf("%s, want %s", a.tag, want)
		}
		if !strings.HasPrefix(a.dockerfile, "FROM kirikae/base:scratch-") {
			t.Error(a.dockerfile)
		}
	}
	other := of(table, fill(append(program, 0)))
	if other.plans["payment"].tag == first.plans["payment"].tag {
		t.Error("another paymentd makes the same image")
	}
	if other.plans["wan"].tag != first.plans["wan"].tag {
		t.Error("another paymentd makes another WAN")
	}
	moved, err := Load("x", []byte(strings.Replace(text(t), "10001:10001", "10002:10002", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if of(moved, fill(program)).plans["payment"].tag == first.plans["payment"].tag {
		t.Error("another user makes the same image")
	}

	for _, n := range []string{"cassandra", "mysql"} {
		if _, err := first.plan(n); err == nil || !strings.Contains(err.Error(), "not provisioned") {
			t.Errorf("%s: %v", n, err)
		}
	}
	if _, err := of(table, fill(nil)).plan("payment"); err == nil || !strings.Contains(err.Error(), "no program paymentd") {
		t.Errorf("without paymentd: %v", err)
	}
	if _, err := of(table, fill([]byte("text"))).plan("payment"); err == nil || !strings.Contains(err.Error(), "paymentd") {
		t.Errorf("with a text as paymentd: %v", err)
	}
	if sh, err := os.ReadFile("/bin/sh"); err == nil {
		if _, err := of(table, fill(sh)).plan("payment"); err == nil || !strings.Contains(err.Error(), "is not static") {
			t.Errorf("with a dynamic program as paymentd: %v", err)
		}
	}
	if err := first.missing(); err == nil || strings.Count(err.Error(), "not provisioned") != 1 {
		t.Errorf("missing: %v", err)
	}
}

func TestDigest(t *testing.T) {
	if digest("ab", "c") == digest("a", "bc") || digest("a") == digest("a", "") {
		t.Error("texts run into each other")
	}
}

func TestOwnerText(t *testing.T) {
	for _, bad := range []string{"", "a:b:c", "boot:1", "boot:1:x", "a:1:2:3"} {
		if o, err := parseOwnerText(bad); err == nil {
			t.Errorf("%q: %+v", bad, o)
		}
	}
	o, err := parseOwnerText("boot-id:12:3456")
	if err != nil || ownerText(o) != "boot-id:12:3456" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestPlainLog(t *testing.T) {
	log := append([]byte{1, 0, 0, 0, 0, 0, 0, 6}, "hello\n"...)
	log = append(append(log, 2, 0, 0, 0, 0, 0, 0, 9), "cut off"...)
	if got := plain(log); got != "hello\ncut off" {
		t.Errorf("%q", got)
	}
}
