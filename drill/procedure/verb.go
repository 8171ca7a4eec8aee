package procedure

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Verbs are the words that procedures may use, by name.
type Verbs map[string]Verb

// Verb is one act on the world with the read that proves it, or a read alone.
type Verb struct {
	Says   string  // one line for the person who writes procedures
	Inputs []Input // all of them must be given, but those that have a default
	// Bind makes the action of one step; nil: the verb only reads. An *InputError is shown at the place of that input.
	Bind func(in Values) (runbook.Action, error)
	// Read makes a read, for the check or the confirm of a step; nil: the verb is no read.
	Read func(in Values) (Reader, error)
	// Unproved: nothing shows by itself that the act was done, so the procedure must name a confirm.
	Unproved bool
	// Approved: only a step that another person approves may use it.
	Approved bool
}

// Reader is a read of the world that holds or does not.
type Reader interface {
	// Read returns nil when it holds. It changes nothing, and is bounded by its context.
	Read(ctx context.Context) (runbook.Seen, error)
}

// Input declares one input of a verb.
type Input struct {
	Name    string
	Kind    InputKind
	Of      []string // for Text and Texts: the values it may have; nil: any
	Default any      // what it is when it is not given; nil: it must be given
	Says    string
}

// InputKind is the kind of an input's value.
type InputKind string

// Kinds of inputs.
const (
	Region InputKind = "a region"
	Text   InputKind = "a text"
	Truth  InputKind = "true or false"
	Texts  InputKind = "a list of texts"
	Table  InputKind = "a mapping of texts"
	Number InputKind = "a number"
	Time   InputKind = "a time like 30s or 5m"
	Plain  InputKind = "a text, a number, true or false" // as a text
)

// Values are the inputs of one step, of the kinds that the verb declared. They are plain data, so that a plan can be printed,
// digested and journalled.
type Values map[string]any

// InputError is a mistake in one input that Bind found.
type InputError struct {
	Input string
	Err   error
}

// Error is the cause; the loader adds the place.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

func (v Values) site(name string) topology.Site { return topology.Site(v.text(name)) }

func (v Values) text(name string) string { s, _ := v[name].(string); return s }

func (v Values) truth(name string) bool { b, _ := v[name].(bool); return b }

func (v Values) texts(name string) []string {
	var out []string
	list, _ := v[name].([]any)
	for _, x := range list {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

func (v Values) table(name string) map[string]string {
	out := map[string]string{}
	m, _ := v[name].(map[string]any)
	for k, x := range m {
		out[k], _ = x.(string)
	}
	return out
}

func (v Values) number(name string) int64 { n, _ := v[name].(int64); return n }

func (v Values) time(name string) time.Duration {
	d, _ := time.ParseDuration(v.text(name))
	return d
}

// accept checks a value against what the input declares. Numbers and truths inside a table become their texts, as parameter
// stores hold nothing else.
func (in Input) accept(v any) (any, error) {
	switch in.Kind {
	case Region, Text:
		if s, ok := v.(string); ok && s != "" {
			return s, in.among(s)
		}
	case Truth:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case Number:
		if n, ok := v.(int64); ok && n >= 0 {
			return n, nil
		}
	case Time:
		if s, ok := v.(string); ok {
			if d, err := time.ParseDuration(s); err == nil && d > 0 {
				return s, nil
			}
		}
	case Plain:
		switch v.(type) {
		case string, bool, int64:
			return fmt.Sprint(v), nil
		}
	case Texts:
		list, ok := v.([]any)
		for _, x := range list {
			s, isText := x.(string)
			if ok = ok && isText; !ok {
				break
			}
			if err := in.among(s); err != nil {
				return nil, err
			}
		}
		if ok {
			return list, nil
		}
	case Table:
		if m, ok := v.(map[string]any); ok {
			texts := map[string]any{}
			for k, x := range m {
				switch x.(type) {
				case string, bool, int64:
					texts[k] = fmt.Sprint(x)
				default:
					return nil, fmt.Errorf("%s of %s is %v, expected a text", k, in.Name, x)
				}
			}
			return texts, nil
		}
	}
	return nil, fmt.Errorf("%s is %v, expected %s", in.Name, v, in.Kind)
}

func (in Input) among(s string) error {
	if in.Of == nil || slices.Contains(in.Of, s) {
		return nil
	}
	if in.Kind == Region {
		return fmt.Errorf("there is no region %q: %s", s, expected(s, in.Of))
	}
	return fmt.Errorf("%s cannot be %q: %s", in.Name, s, expected(s, in.Of))
}

func otherwise(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(" (if not given: %s)", runbook.Value(v))
}

// Describe lists the verbs with their inputs, for the person who writes procedures.
func (v Verbs) Describe() string {
	var names []string
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s\n    %s\n", name, v[name].Says)
		switch {
		case v[name].Bind == nil:
			b.WriteString("    Only reads: for check and confirm.\n")
		case v[name].Unproved && v[name].Read != nil:
			b.WriteString("    Needs a confirm. May be a check or a confirm itself.\n")
		case v[name].Unproved:
			b.WriteString("    Needs a confirm.\n")
		}
		if v[name].Approved {
			b.WriteString("    Needs an approval.\n")
		}
		for _, in := range v[name].Inputs {
			fmt.Fprintf(&b, "    %s: %s. %s%s\n", in.Name, in.Kind, in.Says, otherwise(in.Default))
		}
	}
	return b.String()
}
