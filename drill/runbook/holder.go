package runbook

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/drill/history"
)

// holder says for people who holds the lock of a file: the kernel knows the process, the journal knows the person.
func holder(f *os.File, path string) string {
	pid := lockOwner(f)
	if pid == 0 {
		return "a process that the kernel does not name"
	}
	says := "process " + strconv.Itoa(pid)
	if who := whoBegan(path, pid); who != "" {
		says = who + ", " + says
	}
	if stopped(pid) {
		says += ", which is stopped"
	}
	return says
}

// lockOwner finds the process that holds the flock of a file in /proc/locks; 0 if it is not there.
func lockOwner(f *os.File) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	for in := bufio.NewScanner(locks); in.Scan(); {
		w := strings.Fields(in.Text()) // "1: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF"
		if len(w) >= 6 && w[1] == "FLOCK" && w[5] == inode {
			pid, err := strconv.Atoi(w[4])
			if err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}

// whoBegan reads who began with this process id, last.
func whoBegan(path string, pid int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	entries, err := parse(b)
	if err != nil {
		return ""
	}
	who := ""
	for _, e := range entries {
		if e.Kind == history.EntryBegin && e.PID == pid {
			who = e.Who
		}
	}
	return who
}
