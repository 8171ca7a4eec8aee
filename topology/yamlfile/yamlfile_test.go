package yamlfile

import (
	"fmt"
	"testing"
)

func TestRead(t *testing.T) {
	type file struct {
		Name  string `yaml:"name"`
		Rooms []struct {
			Size int `yaml:"size"`
		} `yaml:"rooms"`
	}
	kind := Kind{"house", func(field string) error { return fmt.Errorf("a house has no %s", field) }}
	for _, c := range []struct{ text, want string }{
		{"name: a\nrooms: [{size: 1}]\n", ""},
		{"", "f.yaml:1:1: the file is empty, a house was expected"},
		{"name: a\n---\nname: b\n", "f.yaml: one house a file, here are 2 documents"},
		{"name: a\nroms: []\n", "f.yaml:2:1: a house has no roms"},
		{"name: [\n", "f.yaml:1:7: sequence end token ']' not found"},
		{"name: a\nrooms:\n  - size: 0\n", "f.yaml:3:11: a room without size"},
		{"name: a\n", "f.yaml:1:1: no room"},
	} {
		var f file
		read, err := kind.Read("f.yaml", []byte(c.text), &f)
		if err == nil {
			for i, r := range f.Rooms {
				if r.Size == 0 {
					read.Bad(fmt.Sprintf("$.rooms[%d].size", i), "a room without %s", "size")
				}
			}
			if len(f.Rooms) == 0 {
				read.Bad("$.rooms", "no room")
			}
			if err = read.Err(); (err != nil) != (read.Mistakes() > 0) {
				t.Errorf("%d mistakes, %v", read.Mistakes(), err)
			}
		}
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%q: %v, expected %q", c.text, err, c.want)
		}
	}
}
