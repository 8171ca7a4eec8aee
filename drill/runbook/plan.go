package runbook

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan prints what a runbook will do, step by step, for review before it runs.
func Plan(rb Runbook) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", rb.Title)
	fmt.Fprintf(&b, "procedure %s · %d steps · plan %.12s\n", rb.Name, len(rb.Steps), rb.Digest())
	if rb.Kind != "" {
		fmt.Fprintf(&b, "kind      %s\n", rb.Kind)
	}
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
		fmt.Fprintf(&b, "      %s · %s · %s\n", s.Resource, call(s.Verb, s.Inputs), within(s.Budget, s.Manual))
		reads(&b, s.Check, s.Confirm)
		if s.Approval > 0 {
			fmt.Fprintf(&b, "      approval: waits up to %v for another person to approve it\n", s.Approval)
		}
		if s.Commits {
			fmt.Fprint(&b, "      point of commitment: from here on only forward\n")
		}
		switch u := s.Undo; {
		case u == nil:
		case u.Nothing:
			fmt.Fprint(&b, "      undo: it leaves nothing to take back\n")
		default:
			fmt.Fprintf(&b, "      undo: %s · %s\n", call(u.Verb, u.Inputs), within(u.Budget, u.Manual))
			reads(&b, u.Check, u.Confirm)
		}
	}
	return b.String()
}

// reads prints the reads that the procedure itself names.
func reads(b *strings.Builder, check, confirm *Read) {
	if check != nil {
		fmt.Fprintf(b, "      check: %s\n", call(check.Verb, check.Inputs))
	}
	if confirm != nil {
		fmt.Fprintf(b, "      confirm: %s\n", call(confirm.Verb, confirm.Inputs))
	}
}

func within(budget time.Duration, manual bool) string {
	if manual {
		return fmt.Sprintf("by hand: waits up to %v for a person", budget)
	}
	return fmt.Sprintf("within %v", budget)
}

func call(verb string, in map[string]any) string { return strings.TrimSpace(verb + " " + list(in)) }

// list prints inputs in order of their names.
func list(in map[string]any) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		words = append(words, name+"="+Value(in[name]))
	}
	return strings.Join(words, " ")
}

// Value prints an input as plans show it.
func Value(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "{" + list(v) + "}"
	case []any:
		var words []string
		for _, x := range v {
			words = append(words, Value(x))
		}
		return "[" + strings.Join(words, " ") + "]"
	case string:
		if strings.ContainsAny(v, "\n\t") || v == "" || strings.TrimSpace(v) != v {
			return strconv.Quote(v)
		}
		return v
	default:
		return fmt.Sprint(v)
	}
}
