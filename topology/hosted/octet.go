package hosted

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
)

// Octets that a world can have. 127.0 and 127.1 are left to what a machine already uses.
const (
	firstOctet = 2
	lastOctet  = 250
)

// claimPort is where a claim's process listens on 127.X.255.254, an address that no plan gives away. The kernel lets one process
// of the machine do so, whatever its user and cache, and frees the address whatever happens to it.
const claimPort = 8475

// Claim is an octet that this process holds: everything on 127.X.0.0/16.
type Claim struct {
	Octet int
	file  *os.File
	held  net.Listener
}

// holder is what a claim's file says about who holds it, for error messages.
type holder struct {
	World  string `json:"world"`
	PID    int    `json:"pid"`
	Folder string `json:"folder"`
}

// Claim takes the first octet that nobody of this machine holds and that is free, for a world and its run folder. only, if not 0,
// is the one octet that will do. Release it.
func (h Host) Claim(ctx context.Context, only int, world, folder string, free func(octet int) error) (*Claim, error) {
	dir := filepath.Join(h.Cache, "octets") // of all runtimes: they use the same addresses
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of octets: %w: %w", topology.ErrEnvironment, err)
	}
	first, last := firstOctet, lastOctet
	if only != 0 {
		first, last = only, only
	}
	var why error // of the last one
	for x := first; x <= last; x++ {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("find free addresses: %w", context.Cause(ctx))
		}
		c, err := tryOctet(ctx, dir, x, holder{world, os.Getpid(), folder})
		if err != nil {
			why = err
			continue
		}
		if err := free(x); err != nil {
			why = err
			c.Release()
			continue
		}
		return c, nil
	}
	var t *taken
	if errors.As(why, &t) {
		t.by = listener(t.at)
	}
	if only != 0 {
		return nil, fmt.Errorf("take the addresses 127.%d.0.0/16: %w: %w", only, topology.ErrEnvironment, why)
	}
	return nil, fmt.Errorf("find free addresses: 127.%d to 127.%d are all taken: %w; the last one: %w", first, last, topology.ErrEnvironment, why)
}

func tryOctet(ctx context.Context, dir string, x int, who holder) (*Claim, error) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(x)+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		var h holder
		b, _ := io.ReadAll(f) // the holder may be writing it: then its name is missing from the error
		_ = json.Unmarshal(b, &h)
		return nil, fmt.Errorf("127.%d.0.0/16 belongs to world %s of process %d, run folder %s", x, h.World, h.PID, h.Folder)
	}
	at := fmt.Sprintf("127.%d.255.254:%d", x, claimPort)
	var lc net.ListenConfig
	held, err := lc.Listen(ctx, "tcp", at)
	if err != nil {
		f.Close()
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
		return nil, &taken{at: at, what: fmt.Sprintf("127.%d.0.0/16 belongs to the world of", x)}
	}
	b, err := json.Marshal(who)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	c := &Claim{x, f, held}
	if err != nil {
		c.Release()
		return nil, fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return c, nil
}

// Release frees the octet. Harmless when repeated. The file stays: removing a locked file would let two processes lock two files of
// one name.
func (c *Claim) Release() {
	c.held.Close()
	c.file.Close()
}

// Bindable says who listens on the first of the addresses of this machine ("ip:port", TCP) that is taken, or nil.
func Bindable(addresses []string) error {
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err == nil {
			l.Close()
			continue
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("%s cannot be listened on: %w", a, err)
		}
		return &taken{at: a, what: a + " is taken by"}
	}
	return nil
}

// taken says that somebody listens on an address. Who it is takes a look at every process of the machine, so that is found out
// once somebody wants to read it.
type taken struct{ at, what, by string }

func (t *taken) Error() string {
	if t.by == "" {
		return t.what + " " + listener(t.at)
	}
	return t.what + " " + t.by
}

// listener names the process that listens on an address, as far as this user may see it.
func listener(address string) string {
	unknown := "a process that cannot be seen"
	want, err := netip.ParseAddrPort(address)
	if err != nil {
		return unknown
	}
	inode := ""
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		in := bufio.NewScanner(f)
		for in.Scan() {
			fields := strings.Fields(in.Text())
			if len(fields) < 10 || fields[3] != "0A" { // listening
				continue
			}
			if at, ok := procAddress(fields[1]); ok && at.Port() == want.Port() && (at.Addr() == want.Addr() || at.Addr().IsUnspecified()) {
				inode = fields[9]
			}
		}
		f.Close()
	}
	if inode == "" {
		return unknown
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(l, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return unknown
}

// procAddress reads an address as /proc/net/tcp writes it: words of four bytes in the machine's order, here little-endian.
func procAddress(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
