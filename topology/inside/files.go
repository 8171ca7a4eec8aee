package inside

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeFile writes a file as a whole or not at all, whenever its writer is killed, and makes its folder.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(part, path)
}

// Empty removes all that is in folders, and leaves the folders: volumes, which are mounted there.
func Empty(folders []string) error {
	for _, f := range folders {
		entries, err := os.ReadDir(f)
		if err != nil {
			return fmt.Errorf("empty %s: %w", f, err)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(f, e.Name())); err != nil {
				return fmt.Errorf("empty %s: %w", f, err)
			}
		}
	}
	return nil
}
