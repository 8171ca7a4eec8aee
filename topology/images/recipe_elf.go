package images

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// needs are the libraries that a program or library names, and the dynamic loader that it asks for ("" for a library).
func needs(file string) (libraries []string, loader string, machine elf.Machine, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, "", 0, fmt.Errorf("read program %s: %w", file, err)
	}
	defer f.Close()
	if libraries, err = f.ImportedLibraries(); err != nil {
		return nil, "", 0, fmt.Errorf("read program %s: %w", file, err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return nil, "", 0, fmt.Errorf("read program %s: %w", file, err)
		}
		loader = strings.TrimRight(string(b), "\x00")
	}
	return libraries, loader, f.Machine, nil
}

// libraries finds everything that programs need, and what that needs in turn, in folders: name → file. own says which names
// come with the programs themselves.
func libraries(programs, more, folders []string, own func(name string) bool) (map[string]string, error) {
	found := map[string]string{}
	var machine elf.Machine
	type wanted struct{ name, by string }
	var queue []wanted
	add := func(file string) error {
		names, loader, m, err := needs(file)
		if err != nil {
			return err
		}
		machine = m
		if loader != "" {
			names = append(names, filepath.Base(loader))
		}
		for _, n := range names {
			queue = append(queue, wanted{n, filepath.Base(file)})
		}
		return nil
	}
	for _, p := range programs {
		if err := add(p); err != nil {
			return nil, err
		}
	}
	for _, m := range more {
		queue = append(queue, wanted{m, "the recipe"})
	}
	var missing []error
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		if _, ok := found[w.name]; ok || own(w.name) {
			continue
		}
		file, ok := find(w.name, folders, machine)
		if !ok {
			found[w.name] = ""
			missing = append(missing, fmt.Errorf("find library %s, which %s needs: not in %s", w.name, w.by, strings.Join(folders, ", ")))
			continue
		}
		found[w.name] = file
		if err := add(file); err != nil {
			return nil, err
		}
	}
	return found, errors.Join(missing...)
}

// find looks for a library of a machine's kind in folders.
func find(name string, folders []string, machine elf.Machine) (string, bool) {
	for _, d := range folders {
		file := filepath.Join(d, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if _, _, m, err := needs(file); err == nil && (machine == 0 || m == machine) {
			return file, true
		}
	}
	return "", false
}

// triplet is what Debian calls this machine's kind.
func triplet() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// libraryFolders are where an unpacked system, or the machine itself ("/"), keeps its libraries.
func libraryFolders(root string) []string {
	var all []string
	for _, d := range []string{"lib/" + triplet(), "usr/lib/" + triplet(), "lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib"} {
		if st, err := os.Stat(filepath.Join(root, d)); err == nil && st.IsDir() {
			all = append(all, filepath.Join(root, d))
		}
	}
	return all
}

// elfFiles are the shared libraries below a folder.
func elfFiles(folder string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, ".so") {
			all = append(all, p)
		}
		return err
	})
	slices.Sort(all)
	return all, err
}
