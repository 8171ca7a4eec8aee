package steps_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/kirikae/kirikae/"

// rules are the import arrows of the design: packages below must not know those above or beside them.
var rules = []struct {
	of      string   // packages with this prefix …
	only    []string // may import, of this module, only these prefixes (nil: any but never)
	never   []string // and never these (full paths or prefixes)
	because string
}{
	{of: "drill/history", only: []string{}, because: "the record knows nobody"},
	{of: "drill/check", only: []string{"drill/history", "drill/objective"}, because: "judges are pure"},
	{of: "drill/objective", only: []string{"drill/history"}, because: "measurement is pure"},
	{of: "drill/runbook", only: []string{"drill/history"}, because: "the engine knows no database"},
	{of: "drill/", never: drivers, because: "interfaces are declared by the consumer"},
	{of: "drill/", never: []string{module + "topology/", module + "steps", module + "reports", module + "payment"}, because: "the harness library knows no product folder"},
	{of: "payment", never: []string{module + "drill", module + "topology", module + "steps", module + "reports", module + "features", module + "fixtures"}, because: "the platform does not know that it is drilled"},
	{of: "topology", never: []string{module + "steps", module + "reports", module + "drill/check", module + "drill/objective", module + "drill/procedure", module + "drill/fault", module + "drill/workload"}, because: "arrows point down"},
	{of: "reports", never: append([]string{module + "steps", module + "topology", module + "payment"}, drivers...), because: "a report is rendered from the folder"},
	{of: "features", only: []string{}, because: "Gherkin only"},
	{of: "fixtures", only: []string{}, because: "data only"},
}

var drivers = []string{"github.com/gocql/gocql", "github.com/go-sql-driver/mysql", "github.com/testcontainers/", "github.com/Shopify/toxiproxy"}

// TestArrows holds the import rules over the non-test files of every package.
func TestArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, wrong := range violations(strings.TrimPrefix(p.ImportPath, module), p.Imports) {
			t.Error(wrong)
		}
	}
	if seen < 15 {
		t.Errorf("only %d packages were seen", seen)
	}
}

// TestArrowsCanFail shows that the rules catch what they are for.
func TestArrowsCanFail(t *testing.T) {
	for _, c := range []struct{ pkg, imports string }{
		{"drill/check", module + "topology"},
		{"drill/fault", "github.com/Shopify/toxiproxy/v2/client"},
		{"drill/procedure", module + "topology/mysql"},
		{"payment/online", module + "drill/history"},
		{"topology/local", module + "steps"},
		{"drill/history", module + "drill/check"},
	} {
		if len(violations(c.pkg, []string{c.imports})) == 0 {
			t.Errorf("%s may import %s", c.pkg, c.imports)
		}
	}
	if v := violations("drill/procedure", []string{module + "topology", module + "drill/runbook"}); len(v) > 0 {
		t.Errorf("legal imports refused: %v", v)
	}
}

func violations(pkg string, imports []string) (wrong []string) {
	for _, r := range rules {
		if !under(pkg, r.of) {
			continue
		}
		for _, i := range imports {
			for _, n := range r.never {
				if strings.HasPrefix(i, n) {
					wrong = append(wrong, pkg+" imports "+i+": "+r.because)
				}
			}
			inside, ours := strings.CutPrefix(i, module)
			if !ours || r.only == nil || under(inside, r.of) {
				continue
			}
			allowed := false
			for _, o := range r.only {
				allowed = allowed || under(inside, o)
			}
			if !allowed {
				wrong = append(wrong, pkg+" imports "+i+": "+r.because)
			}
		}
	}
	return wrong
}

// under says whether a package is a folder or below it.
func under(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, strings.TrimSuffix(folder, "/")+"/")
}
