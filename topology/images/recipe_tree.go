package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// epoch is the time of every file of an image. A class archive holds only as long as the times of its jars stay.
var epoch = time.Unix(1_000_000_000, 0)

// owner is an account inside an image.
type owner struct{ uid, gid int }

var root = owner{}

// parseOwner reads "999:999". The table's reader has checked it.
func parseOwner(text string) (owner, error) {
	u, g, _ := strings.Cut(text, ":")
	uid, err := strconv.Atoi(u)
	if err != nil {
		return owner{}, fmt.Errorf("read user %q: %w", text, err)
	}
	gid, err := strconv.Atoi(g)
	if err != nil {
		return owner{}, fmt.Errorf("read user %q: %w", text, err)
	}
	return owner{uid, gid}, nil
}

// tree is what a layer of an image holds: path inside it, with no slash at its ends → what stands there.
type tree map[string]node

// node is one file, folder or link of a tree.
type node struct {
	kind byte   // of package tar
	mode int64  // permissions
	own  owner  // whose
	from string // a file's contents: this file of the machine …
	data []byte // … or these bytes
	link string // a link's target
}

func inTree(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

func (t tree) dir(p string, mode int64, own owner) {
	t[inTree(p)] = node{kind: tar.TypeDir, mode: mode, own: own}
}

func (t tree) file(p, from string, mode int64, own owner) {
	t[inTree(p)] = node{kind: tar.TypeReg, mode: mode, own: own, from: from}
}

func (t tree) text(p string, data []byte, mode int64) {
	t[inTree(p)] = node{kind: tar.TypeReg, mode: mode, data: data}
}

func (t tree) symlink(p, to string) {
	t[inTree(p)] = node{kind: tar.TypeSymlink, mode: 0o777, link: to}
}

// system adds what every image has: a folder for temporary files, and names for the accounts.
func (t tree) system(own owner, home string) {
	t.dir("/tmp", 0o1777, root)
	passwd, group := "root:x:0:0:root:/:/none\n", "root:x:0:\n"
	if own != root {
		passwd += fmt.Sprintf("kirikae:x:%d:%d::%s:/none\n", own.uid, own.gid, home)
		group += fmt.Sprintf("kirikae:x:%d:\n", own.gid)
	}
	t.text("/etc/passwd", []byte(passwd), 0o644)
	t.text("/etc/group", []byte(group), 0o644)
	t.text("/etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nhosts: files dns\n"), 0o644)
}

// scratchTree is what stands below programs that need no server: the folder of their data belongs to them, as a volume takes over
// whose it is.
func scratchTree(own owner) tree {
	t := tree{}
	t.system(own, "/tmp")
	if own != root {
		t.dir("/data", 0o755, own)
	}
	return t
}

// write writes the tree as a tar, folders before what is in them, always in the same way.
func (t tree) write(w *tar.Writer, below string) error {
	all := map[string]node{}
	for p, n := range t {
		p = inTree(path.Join(below, p))
		all[p] = n
		for d := path.Dir(p); d != "."; d = path.Dir(d) { // folders that nobody named
			if _, ok := t[inTree(strings.TrimPrefix(d, below))]; !ok {
				if _, ok := all[d]; !ok {
					all[d] = node{kind: tar.TypeDir, mode: 0o755}
				}
			}
		}
	}
	var names []string
	for p := range all {
		names = append(names, p)
	}
	slices.Sort(names)
	for _, p := range names {
		if err := all[p].write(w, p); err != nil {
			return fmt.Errorf("write /%s: %w", p, err)
		}
	}
	return nil
}

func (n node) write(w *tar.Writer, name string) error {
	h := &tar.Header{Typeflag: n.kind, Name: name, Mode: n.mode, Uid: n.own.uid, Gid: n.own.gid, ModTime: epoch, Linkname: n.link}
	if n.kind == tar.TypeDir {
		h.Name += "/"
	}
	if n.kind != tar.TypeReg {
		return w.WriteHeader(h)
	}
	if n.from == "" {
		h.Size = int64(len(n.data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(w, bytes.NewReader(n.data))
		return err
	}
	f, err := os.Open(n.from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = st.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
