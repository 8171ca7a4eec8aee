package runbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Plan prints what a runbook will do, step by step, for review before it runs.
func Plan(rb Runbook) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", rb.Title)
	fmt.Fprintf(&b, "procedure %s · %d steps · plan %.12s\n", rb.Name, len(rb.Steps), rb.Digest())
	if len(rb.Inputs) > 0 {
		fmt.Fprintf(&b, "inputs    %s\n", list(rb.Inputs))
	}
	printed := map[string]bool{}
	for _, s := range rb.Steps {
		for _, c := range s.Under {
			if !printed[c.Path] {
				printed[c.Path] = true
				fmt.Fprintf(&b, "\n%-5s %s\n", c.Path, c.Title)
				fmt.Fprintf(&b, "      %s · calls %s\n", c.Resource, c.File)
			}
		}
		if len(s.Under) == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-5s %s\n", s.Path, s.Title)
		how := fmt.Sprintf("within %v", s.Budget)
		if s.Manual {
			how = fmt.Sprintf("by hand: waits up to %v for a person", s.Budget)
		}
		fmt.Fprintf(&b, "      %s · %s · %s\n", s.Resource, strings.TrimSpace(s.Verb+" "+list(s.Inputs)), how)
	}
	return b.String()
}

// list prints inputs in order of their names.
func list(in map[string]any) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		words = append(words, name+"="+value(in[name]))
	}
	return strings.Join(words, " ")
}

func value(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "{" + list(v) + "}"
	case []any:
		var words []string
		for _, x := range v {
			words = append(words, value(x))
		}
		return "[" + strings.Join(words, " ") + "]"
	default:
		return fmt.Sprint(v)
	}
}
