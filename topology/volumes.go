package topology

// Volumes says where the stores of a world keep their data. A node's process or container that dies leaves what it has written in
// either: in the page cache or in a file system in memory. What differs is what a sync costs, and that disks do not survive the
// machine in the one. So a drill in memory drills no disk, and says so; a drill on disk does not show a missing sync either, as
// SIGKILL keeps the page cache.
type Volumes string

// Where data lie.
const (
	VolumesDisk   Volumes = "disk"
	VolumesMemory Volumes = "memory" // tmpfs: a sync costs nothing
)

// ParseVolumes reads a name; "" is disk. The error names the nearest known one.
func ParseVolumes(s string) (Volumes, error) {
	switch v := Volumes(s); v {
	case "":
		return VolumesDisk, nil
	case VolumesDisk, VolumesMemory:
		return v, nil
	}
	return "", Unknown("place for volumes", s, []string{string(VolumesDisk), string(VolumesMemory)})
}
