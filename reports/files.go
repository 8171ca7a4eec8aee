package reports

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// Files that Write makes in a run folder, beside history.ResultFile.
const (
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
	HTMLFile    = "report.html"
)

// Write renders result.json, junit.xml, summary.md and report.html into a run folder, each whole or not at all. Writing again
// replaces them by the same bytes.
func Write(folder string, r Report) error {
	files, err := contents(folder)
	if err != nil {
		return err
	}
	r.Files = files
	parts := []struct {
		name   string
		render func(*bytes.Buffer, Report) error
		out    bytes.Buffer
	}{
		{name: JUnitFile, render: junit}, {name: SummaryFile, render: summary}, {name: HTMLFile, render: page},
	}
	for i := range parts { // all are rendered before one is written: a report is never half of this run and half of the one before
		if err := parts[i].render(&parts[i].out, r); err != nil {
			return fmt.Errorf("render %s: %w", parts[i].name, err)
		}
	}
	for i := range parts {
		if err := replace(filepath.Join(folder, parts[i].name), parts[i].out.Bytes()); err != nil {
			return err
		}
	}
	return history.WriteJSON(filepath.Join(folder, history.ResultFile), r)
}

// contents lists the files of a run folder, those that Write is about to make among them.
func contents(folder string) ([]string, error) {
	files := []string{history.ResultFile, JUnitFile, SummaryFile, HTMLFile}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, _ := filepath.Rel(folder, path); e.Type().IsRegular() && !strings.HasSuffix(name, ".tmp") {
			files = append(files, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list run folder %s: %w", folder, err)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// replace writes a file whole or not at all.
func replace(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
