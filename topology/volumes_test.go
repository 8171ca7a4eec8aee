package topology

import (
	"strings"
	"testing"
)

func TestParseVolumes(t *testing.T) {
	for in, want := range map[string]Volumes{"": VolumesDisk, "disk": VolumesDisk, "memory": VolumesMemory} {
		if got, err := ParseVolumes(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseVolumes("memori"); err == nil || !strings.Contains(err.Error(), `did you mean "memory"`) {
		t.Errorf("%v", err)
	}
}
