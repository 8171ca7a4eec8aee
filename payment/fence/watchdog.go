package fence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/payment/internal/mono"
)

// Watch is the watchdog beside a Guard: a process that shares nothing with it but a pipe. A Guard that is stopped, or starved, cannot
// fence; the watchdog kills the MySQL when the instant that the Guard last named has passed, or when the Guard is gone.
//
// It reads lines: "pid N" first, then "until NANOSECONDS" of CLOCK_MONOTONIC whenever the lease was renewed, and "off" while the
// MySQL is proved read-only. It returns once the pipe has ended. A word that it does not know kills the MySQL: what it was meant to
// say may have been that.
func Watch(in io.Reader) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(in)
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	defer func() {
		for range lines { // the reader ends with the pipe
		}
	}()
	var target *os.Process
	kill := func() error {
		if target == nil {
			return nil
		}
		if err := target.Signal(syscall.SIGKILL); err != nil && err != os.ErrProcessDone {
			return fmt.Errorf("kill process %d: %w", target.Pid, err)
		}
		return nil
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if err := kill(); err != nil {
				return err
			}
		case line, more := <-lines:
			if !more {
				return kill()
			}
			word, value, _ := strings.Cut(line, " ")
			n, err := strconv.ParseInt(value, 10, 64)
			switch {
			case word == "off":
				timer.Stop()
			case err != nil:
				return errors.Join(kill(), fmt.Errorf("read the guard's word %q: %w", line, err))
			case word == "pid":
				// The handle is the kernel's for this process: a later one of the same number is not meant.
				if target, err = os.FindProcess(int(n)); err != nil {
					return fmt.Errorf("find process %d: %w", n, err)
				}
			case word == "until":
				timer.Reset(time.Duration(n - mono.Now()))
			default:
				return errors.Join(kill(), fmt.Errorf("read the guard's word %q", line))
			}
		}
	}
}

// watchdog is the Guard's end.
type watchdog interface {
	Arm(until time.Time) error // kill the MySQL then, unless told otherwise before
	Off() error
}

// noWatchdog is for a Guard that was given none.
type noWatchdog struct{}

func (noWatchdog) Arm(time.Time) error { return nil }
func (noWatchdog) Off() error          { return nil }

// pipeline tells a watchdog process, and replaces it when it has died.
type pipeline struct {
	start func() (*os.File, error) // starts one and names the MySQL to it
	pipe  *os.File
}

func (p *pipeline) Arm(until time.Time) error {
	return p.tell(fmt.Sprintf("until %d\n", monotonic(until)))
}

func (p *pipeline) Off() error { return p.tell("off\n") }

func (p *pipeline) tell(line string) error {
	for attempt := 0; ; attempt++ {
		if p.pipe == nil {
			pipe, err := p.start()
			if err != nil {
				return fmt.Errorf("start the watchdog: %w", err)
			}
			p.pipe = pipe
		}
		_ = p.pipe.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a pipe of os.Pipe takes one
		_, err := io.WriteString(p.pipe, line)
		if err == nil {
			return nil
		}
		p.pipe.Close()
		p.pipe = nil
		if attempt > 0 {
			return fmt.Errorf("tell the watchdog: %w", err)
		}
	}
}

func (p *pipeline) close() {
	if p.pipe != nil {
		p.pipe.Close()
		p.pipe = nil
	}
}
