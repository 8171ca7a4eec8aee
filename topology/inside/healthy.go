package inside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// Healthy says whether something in this container does its work: nil, or why not. what is http (where is a URL that has to answer
// 2xx), cql ("host:port" of a node that is in its ring) or mysql (the absolute path of the server's socket; its data have the
// world's users).
func Healthy(ctx context.Context, what, where string) error {
	switch what {
	case "http":
		return healthyHTTP(ctx, where)
	case "cql":
		if _, _, err := net.SplitHostPort(where); err != nil {
			return fmt.Errorf("ask Cassandra: %w", err)
		}
		return cassandra.WaitRing(ctx, where)
	case "mysql":
		return healthyMySQL(ctx, where)
	}
	return topology.Unknown("kind of health", what, []string{"cql", "http", "mysql"})
}

func healthyHTTP(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	req.Header.Set("User-Agent", "kirikae")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err // it names the URL
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

func healthyMySQL(ctx context.Context, socket string) error {
	if !filepath.IsAbs(socket) {
		return fmt.Errorf("ask MySQL: %q is not the absolute path of a socket", socket)
	}
	if _, err := os.Stat(Marker(filepath.Dir(socket))); errors.Is(err, fs.ErrNotExist) {
		return errors.New("MySQL has no users yet")
	} else if err != nil {
		return fmt.Errorf("look for MySQL's data: %w", err)
	}
	root, err := mysql.Open(socket, mysql.UserRoot, "", mysql.Options{})
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Ready(ctx)
}
