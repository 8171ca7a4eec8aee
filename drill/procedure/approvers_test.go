package procedure

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kirikae/kirikae/fixtures"
)

func TestApprovers(t *testing.T) {
	aiko := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	line := ApproverLine("責任者: Aiko", aiko)
	got, err := Approvers(fstest.MapFS{"a.yaml": {Data: []byte("approvers:\n" + line)}}, "a.yaml")
	if err != nil || len(got) != 1 || !aiko.Equal(got["責任者: Aiko"]) {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := Approvers(fixtures.FS, ApproversFile); err != nil {
		t.Errorf("the program's own list: %v", err)
	}
	for text, want := range map[string]string{
		"approvers:\n  Ben: short\n":                                    "a.yaml:2:8: the key of Ben is no ed25519 public key",
		"approvers:\n" + line + strings.Replace(line, "Aiko", "Ben", 1): "a.yaml:3:15: 責任者: Aiko and 責任者: Ben have the same key",
		"approver:\n" + line:                                            `a.yaml:1:1: a list of approvers has no key "approver": did you mean "approvers"?`,
		"approvers:\n" + line + line:                                    "a.yaml:3:3:",
		"approvers: [Ben]\n":                                            "approvers is a list, expected a mapping",
	} {
		_, err := Approvers(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, "a.yaml")
		if place := (*PlaceError)(nil); err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &place) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
