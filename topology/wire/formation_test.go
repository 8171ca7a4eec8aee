package wire

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// TestReadFormation: what the store says, what it said last, and nothing at all.
func TestReadFormation(t *testing.T) {
	values := map[string]string{payment.ParamSeeds: "127.9.1.2", payment.ParamBootstrap: "true"}
	up := true
	url := "http://" + serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(payment.Values{Version: 7, Values: values})
	}))
	kept := filepath.Join(t.TempDir(), "data", "formation.json")
	const soon = 200 * time.Millisecond

	up = false
	if _, _, err := readFormation(t.Context(), url, kept, soon); err == nil || !strings.Contains(err.Error(), "none were read before") || !strings.Contains(err.Error(), "503") {
		t.Errorf("nothing to go by: %v", err)
	}
	up = true
	f, note, err := ReadFormation(t.Context(), url, kept)
	if err != nil || !f.Bootstrap || f.Replace || len(f.Seeds) != 1 || note != "parameters at version 7: seeds 127.9.1.2, auto_bootstrap true, replace false" {
		t.Errorf("%+v, %q, %v", f, note, err)
	}
	up = false
	again, note, err := readFormation(t.Context(), url, kept, soon)
	if err != nil || again.String() != f.String() || !strings.Contains(note, "read last") || !strings.Contains(note, "503") {
		t.Errorf("%+v, %q, %v", again, note, err)
	}
	if err := os.WriteFile(kept, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readFormation(t.Context(), url, kept, soon); err == nil {
		t.Error("half a file was believed")
	}
	up, values = true, map[string]string{payment.ParamReplace: "perhaps"}
	if _, _, err := ReadFormation(t.Context(), url, kept); err == nil || !strings.Contains(err.Error(), "cassandra.replace") {
		t.Errorf("a value that is none: %v", err)
	}
}
