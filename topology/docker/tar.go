package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// untar writes the first regular file of an archive.
func untar(r io.Reader, to io.Writer) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the archive holds no file")
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag == tar.TypeReg {
			_, err := io.Copy(to, in)
			return err
		}
	}
}

// tarred is an archive of one file.
func tarred(name, text string, mode int64) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, err
	}
	return &b, w.Close()
}
