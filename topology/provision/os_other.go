//go:build !linux

package provision

import (
	"os"
	"syscall"
)

// Elsewhere than on Linux nothing is ever started: tools() refuses first. These keep the package compiling, so that the program
// can say so.

func ownGroup() *syscall.SysProcAttr { return nil }

func signalGroup(p *os.Process, s syscall.Signal) error { return p.Signal(s) }

func tryLock(*os.File) (bool, error) { return false, errNotLinux() }

func freeBytes(string) (uint64, error) { return 0, errNotLinux() }
