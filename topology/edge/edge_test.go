package edge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/kirikae/kirikae/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come. Only a machine under a heavy load needs more than a moment of it.
const patience = 30 * time.Second

func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Serve(t.Context(), "127.0.0.1:0", topology.ZoneSpec{Name: "kirikae.test.", TTL: 2 * time.Second, Records: []string{"pay", "api"}},
		Entry{"tokyo": netip.MustParseAddr("127.9.101.51"), "osaka": netip.MustParseAddr("127.9.102.51")}, "tokyo")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	return s
}

func closing(t *testing.T, s *Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func ask(t *testing.T, s *Server, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	return askAt(t, s.Address(), network, name, kind)
}

func askAt(t *testing.T, at, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	r, _, err := (&dns.Client{Net: network, Timeout: patience}).Exchange(m, at)
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		name   string
		kind   uint16
		rcode  int
		answer string
		soa    bool
		aa     bool
	}{
		{"pay.kirikae.test.", dns.TypeA, dns.RcodeSuccess, "127.9.101.51", false, true},
		{"PAY.Kirikae.test.", dns.TypeA, dns.RcodeSuccess, "127.9.101.51", false, true},
		{"pay.kirikae.test.", dns.TypeAAAA, dns.RcodeSuccess, "", true, true},
		{"nothing.kirikae.test.", dns.TypeA, dns.RcodeNameError, "", true, true},
		{"kirikae.test.", dns.TypeA, dns.RcodeSuccess, "", true, true},
		{"kirikae.test.", dns.TypeSOA, dns.RcodeSuccess, "hostmaster", false, true},
		{"example.com.", dns.TypeA, dns.RcodeRefused, "", false, false},
		{"notkirikae.test.", dns.TypeA, dns.RcodeRefused, "", false, false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := ask(t, s, network, c.name, c.kind)
			if r.Rcode != c.rcode || r.Authoritative != c.aa {
				t.Errorf("%s %s: %s, authoritative %v", network, c.name, dns.RcodeToString[r.Rcode], r.Authoritative)
			}
			if (len(r.Ns) == 1) != c.soa {
				t.Errorf("%s %s: authority section %v", network, c.name, r.Ns)
			}
			if (len(r.Answer) == 1) != (c.answer != "") || c.answer != "" && !strings.Contains(r.Answer[0].String(), c.answer) {
				t.Errorf("%s %s: %v, want %q", network, c.name, r.Answer, c.answer)
			}
			if len(r.Answer) == 1 && r.Answer[0].Header().Ttl != 2 {
				t.Errorf("%s %s: TTL %d", network, c.name, r.Answer[0].Header().Ttl)
			}
		}
	}
}

func TestPoint(t *testing.T) {
	s := serve(t)
	before := s.Records()
	if len(before) != 2 || before[0].Name != "api.kirikae.test." || before[0].Site != "tokyo" || before[0].Added.IsZero() {
		t.Fatalf("%+v", before)
	}
	serial := ask(t, s, "udp", "kirikae.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
	if _, err := s.Point("pay.kirikae.test.", "osaka"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Point("new", "osaka"); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, s, "udp", "pay.kirikae.test.", dns.TypeA).Answer[0].(*dns.A); a.A.String() != "127.9.102.51" {
		t.Errorf("pay leads to %s", a.A)
	}
	if a := ask(t, s, "udp", "api.kirikae.test.", dns.TypeA).Answer[0].(*dns.A); a.A.String() != "127.9.101.51" {
		t.Errorf("api leads to %s", a.A)
	}
	if now := ask(t, s, "udp", "kirikae.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial; now != serial+2 {
		t.Errorf("serial %d after %d", now, serial)
	}
	after := s.Records()
	pay, young := after[2], after[1]
	if pay.Name != "pay.kirikae.test." || pay.Added != before[1].Added || !pay.Changed.After(before[1].Changed) {
		t.Errorf("%+v", pay)
	}
	if young.Name != "new.kirikae.test." || !young.Added.After(pay.Added) || young.Site != "osaka" {
		t.Errorf("%+v", young)
	}
	again, err := s.Point("pay", "osaka")
	if err != nil || again != pay {
		t.Errorf("pointed twice: %+v, %v", again, err)
	}
	for _, c := range []struct {
		name string
		to   topology.Site
		want string
	}{
		{"pay", "osako", `did you mean "osaka"`},
		{"example.com.", "osaka", "not a name inside zone"},
		{"kirikae.test.", "osaka", "not a name inside zone"},
		{"a..b", "osaka", "not a name inside zone"},
	} {
		if _, err := s.Point(c.name, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v", c.name, c.to, err)
		}
	}
}

func TestAddressTaken(t *testing.T) {
	s := serve(t)
	if _, err := Serve(t.Context(), s.Address(), s.zone, s.views[0].entry, "tokyo"); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a taken address: %v", err)
	}
}

func twoViews(t *testing.T) *Server {
	t.Helper()
	view := func(prefix string) View {
		return View{"127.0.0.1:0", Entry{"tokyo": netip.MustParseAddr(prefix + ".9.2.51"), "osaka": netip.MustParseAddr(prefix + ".9.3.51")}}
	}
	s, err := ServeViews(t.Context(), topology.ZoneSpec{Name: "kirikae.test.", TTL: 2 * time.Second, Records: []string{"pay", "api"}}, "tokyo", view("127"), view("10"))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	return s
}

// TestViews: one zone, one change, two sets of addresses, each over both protocols.
func TestViews(t *testing.T) {
	s := twoViews(t)
	check := func(host string) {
		t.Helper()
		for i, prefix := range []string{"127.", "10."} {
			for _, network := range []string{"udp", "tcp"} {
				r := askAt(t, s.Addresses()[i], network, "pay.kirikae.test.", dns.TypeA)
				if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != prefix+host {
					t.Errorf("view %d, %s: %v, want %s%s", i, network, r.Answer, prefix, host)
				}
			}
		}
	}
	check("9.2.51")
	if _, err := s.Point("pay", "osaka"); err != nil {
		t.Fatal(err)
	}
	check("9.3.51")
	if r := s.Records(); r[1].Address != "127.9.3.51" {
		t.Errorf("%+v shows not the first view", r[1])
	}
	a := askAt(t, s.Addresses()[0], "udp", "kirikae.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
	if b := askAt(t, s.Addresses()[1], "tcp", "kirikae.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial; a != b {
		t.Errorf("serial %d and %d", a, b)
	}
}

func TestViewsRefused(t *testing.T) {
	zone := topology.ZoneSpec{Name: "kirikae.test.", TTL: time.Second, Records: []string{"pay"}}
	one := Entry{"tokyo": netip.MustParseAddr("127.9.2.51")}
	two := Entry{"tokyo": one["tokyo"], "osaka": one["tokyo"]}
	s := serve(t)
	for name, c := range map[string]struct {
		views []View
		want  string
	}{
		"none":         {nil, "no view"},
		"other sites":  {[]View{{"127.0.0.1:0", one}, {"127.0.0.1:0", two}}, "another [osaka tokyo]"},
		"no such site": {[]View{{"127.0.0.1:0", Entry{"osaka": one["tokyo"]}}}, `unknown site "tokyo"`},
		"no port":      {[]View{{"127.0.0.1", one}}, "missing port"},
		// the first view is open by then, and must be closed again: goleak sees it otherwise
		"taken": {[]View{{"127.0.0.1:0", one}, {s.Address(), one}}, "address already in use"},
	} {
		if _, err := ServeViews(t.Context(), zone, "tokyo", c.views...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestTwinTaken: a port that only one of the protocols has free is not taken where any port will do.
func TestTwinTaken(t *testing.T) {
	for _, c := range []struct {
		address string
		taken   int // of the twins tried
		ok      bool
	}{{"127.0.0.1:0", 0, true}, {"127.0.0.1:0", 3, true}, {"127.0.0.1:0", twinTries, false}, {"127.253.9.9:5353", 1, false}} {
		asked := 0
		lc := net.ListenConfig{Control: func(network, _ string, _ syscall.RawConn) error {
			if strings.HasPrefix(network, "udp") {
				if asked++; asked <= c.taken {
					return syscall.EADDRINUSE
				}
			}
			return nil
		}}
		l, p, err := listen(t.Context(), lc, c.address)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			if l.Addr().String() != p.LocalAddr().String() {
				t.Errorf("TCP on %s, UDP on %s", l.Addr(), p.LocalAddr())
			}
			l.Close()
			p.Close()
		}
	}
}
