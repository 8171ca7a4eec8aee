package procedure

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io/fs"

	"github.com/goccy/go-yaml/ast"
)

// Approvers reads a list of those who may approve steps: names with their public keys (ed25519, base64). Every mistake is a
// *PlaceError.
func Approvers(fsys fs.FS, file string) (map[string]ed25519.PublicKey, error) {
	s, root, err := document(fsys, file)
	if err != nil {
		return nil, err
	}
	fields, err := s.mapping(root, "a list of approvers", []string{"approvers"}, "approvers")
	if err != nil {
		return nil, err
	}
	out := map[string]ed25519.PublicKey{}
	if m, ok := fields[0].value.(*ast.MappingNode); ok && len(m.Values) == 0 {
		return out, nil
	}
	people, err := s.mapping(fields[0].value, "approvers", nil)
	if err != nil {
		return nil, err
	}
	holders := map[string]string{}
	for _, p := range people {
		text, err := s.text(p)
		if err != nil {
			return nil, err
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, s.at(p.value, "the key of %s is no ed25519 public key, expected %d bytes in base64, as `kirikae approve --new-key` prints it", p.name, ed25519.PublicKeySize)
		}
		if other := holders[text]; other != "" {
			return nil, s.at(p.value, "%s and %s have the same key, expected one for each person", other, p.name)
		}
		holders[text], out[p.name] = p.name, key
	}
	return out, nil
}

// ApproversFile is the name of the list in a run folder, and of the program's own.
const ApproversFile = "approvers.yaml"

// ApproverLine is the line of a list for one person.
func ApproverLine(name string, key ed25519.PublicKey) string {
	return fmt.Sprintf("  %q: %s\n", name, base64.StdEncoding.EncodeToString(key))
}

// OnDisk are the user's files, by the paths that the user writes.
func OnDisk() fs.FS { return disk{} }
