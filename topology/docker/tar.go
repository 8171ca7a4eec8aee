package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
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

// owned is an archive of folders that belong to a user ("uid:gid").
func owned(folders []string, user string) (io.Reader, error) {
	uid, gid, ok := strings.Cut(user, ":")
	u, err := strconv.Atoi(uid)
	g, err2 := strconv.Atoi(gid)
	if !ok || err != nil || err2 != nil {
		return nil, fmt.Errorf("user %q: uid:gid in numbers was expected", user)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range folders {
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(f, "/") + "/", Mode: 0o755, Uid: u, Gid: g, Typeflag: tar.TypeDir}); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
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
