package mysql

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kirikae/kirikae/topology/provision"
)

// Prepare gives a server its data: a copy of the template in o.DataDir, without identity, so that every server makes its own
// UUID. Data that are there stay untouched, also those of a server that was killed; a copy that was interrupted is begun again.
// A folder with anything else in it is refused.
func Prepare(in provision.MySQL, o NodeOptions) error {
	entries, err := os.ReadDir(o.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("prepare MySQL data: %w", err)
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(o.DataDir, "mysql.ibd")); err != nil {
			return fmt.Errorf("prepare MySQL data: %s is not empty and holds no MySQL data", o.DataDir)
		}
		return nil
	}
	// Copied beside and renamed: a folder that exists is a whole one.
	part := o.DataDir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("prepare MySQL data: %w", err)
	}
	if err := copyTemplate(in.Template, part); err != nil {
		_ = os.RemoveAll(part)
		return fmt.Errorf("prepare MySQL data of %s: %w", o.DataDir, err)
	}
	if err := os.Remove(o.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare MySQL data: %w", err)
	}
	if err := os.Rename(part, o.DataDir); err != nil {
		return fmt.Errorf("prepare MySQL data: %w", err)
	}
	return nil
}

// skipped are files of a template that belong to one server or one process only.
func skipped(rel string) bool {
	base := filepath.Base(rel)
	return rel == "auto.cnf" || rel == "ibtmp1" || strings.HasPrefix(rel, "binlog.") ||
		strings.HasSuffix(base, ".pid") || strings.HasSuffix(base, ".sock") || strings.HasSuffix(base, ".sock.lock")
}

func copyTemplate(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o750)
		case skipped(rel) || !d.Type().IsRegular():
			return nil
		}
		return copySparse(path, target)
	})
}

// copySparse copies a file without writing its zeroes: three quarters of an empty data folder are nothing else.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	var zero, block [64 << 10]byte
	for at := int64(0); ; {
		n, err := io.ReadFull(in, block[:])
		if n > 0 && string(block[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return out.Truncate(at)
		case err != nil:
			return err
		}
	}
}
