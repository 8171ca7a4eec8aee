package compose

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/wire"
)

// composer is how compose is called on this machine.
func composer(t *testing.T) []string {
	t.Helper()
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Fatal("neither docker-compose nor docker compose is there (Debian: apt-get install docker-compose)")
	return nil
}

// TestComposedWorld: what the file of the repository says comes up, serves, is found, and leaves nothing.
func TestComposedWorld(t *testing.T) {
	if os.Getenv("KIRIKAE_LIVE") != "1" {
		t.Skip("brings up docker-compose.yml; set KIRIKAE_LIVE=1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	e, err := engine.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Client.Close()
	top := twoRegion(t)
	if _, err := Find(ctx, e.Client, top); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Fatalf("a composed world is there already, which is not this test's: %v", err)
	}
	call := composer(t)
	compose := func(ctx context.Context, args ...string) error {
		all := append(call[1:len(call):len(call)], append([]string{"-p", "kirikae", "-f", path}, args...)...)
		var out bytes.Buffer
		c := exec.CommandContext(ctx, call[0], all...)
		c.Stdout, c.Stderr = &out, &out
		if err := c.Run(); err != nil {
			return errors.Join(err, errors.New(out.String()))
		}
		return nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := compose(ctx, "down", "-v"); err != nil {
			t.Errorf("end the composed world: %v", err)
		}
		nothingLeft(ctx, t, e)
	}()
	began := time.Now()
	if err := compose(ctx, "up", "-d"); err != nil {
		t.Fatal(err)
	}
	up := time.Since(began)
	var f Found
	err = wire.Until(ctx, "the composed world is wired", func(ctx context.Context) (err error) {
		f, err = Find(ctx, e.Client, top)
		if err != nil && !strings.Contains(err.Error(), "has not ended yet") && !strings.Contains(err.Error(), "should rest") {
			t.Fatal(err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: up returned after %s, wired after %s; images %v", strings.Join(call, " "), up.Round(time.Second), time.Since(began).Round(time.Second), f.Images)

	entry, _ := f.Plan.Route(topology.Outside, "tokyo-gateway-1")
	q := new(dns.Msg)
	q.SetQuestion("pay."+top.Zone.Name, dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 10 * time.Second}
		answer, _, err := c.ExchangeContext(ctx, q, f.Plan.Names(false))
		if err != nil || len(answer.Answer) != 1 || !strings.HasPrefix(entry.Reach, answer.Answer[0].(*dns.A).A.String()+":") {
			t.Fatalf("asked by %s: %v, %v; the entry is %s", network, answer, err, entry.Reach)
		}
	}
	pay(ctx, t, "http://"+entry.Reach+"/payments")

	// A second start, an operator's, is a real one. Its parameters are incomplete, so that it does not become ready.
	if err := compose(ctx, "start", "osaka-app-1"); err != nil {
		t.Error(err)
	}
	if _, err := Find(ctx, e.Client, top); err == nil || !strings.Contains(err.Error(), "osaka-app-1 is running") {
		t.Errorf("after its second start: %v", err)
	}
}

// pay pays once through the public entry.
func pay(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"from":1,"to":2,"yen":100}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Payment-Key", "composed-1")
	req.Header.Set("Content-Type", "application/json")
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(`"DONE"`)) {
		t.Fatalf("a payment: %s %s, %v", res.Status, b, err)
	}
}

// nothingLeft looks for what `down -v` should have removed.
func nothingLeft(ctx context.Context, t *testing.T, e *engine.Engine) {
	t.Helper()
	of := make(client.Filters).Add("label", containers.LabelWorld+"="+World)
	c, err := e.Client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: of})
	if err != nil || len(c.Items) > 0 {
		t.Errorf("%d containers are left: %v", len(c.Items), err)
	}
	v, err := e.Client.VolumeList(ctx, client.VolumeListOptions{Filters: of})
	if err != nil || len(v.Items) > 0 {
		t.Errorf("volumes are left: %v, %v", v.Items, err)
	}
	n, err := e.Client.NetworkList(ctx, client.NetworkListOptions{Filters: of})
	if err != nil || len(n.Items) > 0 {
		t.Errorf("networks are left: %v, %v", n.Items, err)
	}
}
