// Package mono reads the kernel's monotonic clock, so that stamps of several processes of one boot share a timeline.
package mono

import "golang.org/x/sys/unix"

// Now returns CLOCK_MONOTONIC in nanoseconds.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("mono: CLOCK_MONOTONIC cannot be read: " + err.Error()) // no Linux kernel refuses it
	}
	return ts.Nano()
}
