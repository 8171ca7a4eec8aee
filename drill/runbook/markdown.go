package runbook

import (
	"cmp"
	"fmt"
	"strings"
)

// Markdown is the runbook for people: the table of the procedure with its own numbers and titles, and what stands behind each
// row. says gives a verb's line of explanation, or "". It has nothing of one world or one day, so that a copy in a repository
// stays the same as long as the procedure does.
func Markdown(rb Runbook, command string, says func(verb string) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", heading(rb.Title))
	fmt.Fprintf(&b, "Rendered from the procedure `%s`, plan `%.12s`, with %s. Do not edit: `kirikae runbook --write` makes it anew.\n\n", rb.Name, rb.Digest(), cmp.Or(code(list(rb.Inputs)), "no inputs"))
	if rb.Kind == Planned {
		b.WriteString("This is a planned switchover: until the point of commitment a failure takes every step back, in reverse order, and each undo is confirmed; after it the procedure only goes forward.\n\n")
	} else {
		b.WriteString("This procedure only goes forward: after a failure the same command resumes it.\n\n")
	}
	b.WriteString("| No | リソース / Resource | 実施項目 | Step | 自動 / Automatic | 上限 / At most |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range rows(rb) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.number, cell(row.resource), cell(row.title.JA), cell(row.title.EN), row.how, row.limit)
	}
	fmt.Fprintf(&b, `
## 進め方 / How to run it

| | command |
| --- | --- |
| read the plan | %s |
| see what it would do, and change nothing | %s |
| run it, or resume it after anything | %s |
| pause after the running step, go on | %s, %s |
| pass a step over | %s |
`, code("kirikae plan "+command), code("kirikae operate RUN "+command+" --dry-run"), code("kirikae operate RUN "+command), code("kirikae pause RUN --why …"), code("kirikae continue RUN"),
		code("kirikae operate RUN "+command+" --skip STEP --why …"))
	if rb.approves() {
		fmt.Fprintf(&b, "| approve a step, as another person | %s |\n", code("kirikae approve RUN STEP --key FILE"))
	}
	if rb.Kind == Planned {
		fmt.Fprintf(&b, "| take it back, before the point of commitment | %s |\n", code("kirikae operate RUN "+command+" --abort --why …"))
	}
	b.WriteString("\n## 手順 / Steps\n")
	printed := map[string]bool{}
	for _, s := range rb.Steps {
		for _, c := range s.Under {
			if !printed[c.Path] {
				printed[c.Path] = true
				fmt.Fprintf(&b, "\n### %s. %s\n\nOn: %s. By the lower procedure `%s`.\n", c.Path, heading(c.Title), c.Resource, c.File)
			}
		}
		detail(&b, s, says)
	}
	return b.String()
}

// tableRow is one row of the procedure's own table.
type tableRow struct {
	number, resource string
	title            Title
	how, limit       string
}

// rows are the outermost procedure's rows: a row that calls another procedure is one row.
func rows(rb Runbook) []tableRow {
	var out []tableRow
	for i := 0; i < len(rb.Steps); i++ {
		s := rb.Steps[i]
		row := tableRow{s.Path, s.Resource, s.Title, "", ""}
		last := i
		if len(s.Under) > 0 {
			c := s.Under[0]
			row = tableRow{c.Path, c.Resource, c.Title, "", ""}
			for last+1 < len(rb.Steps) && len(rb.Steps[last+1].Under) > 0 && rb.Steps[last+1].Under[0].Path == c.Path {
				last++
			}
		}
		budget, manual := s.Budget, 0
		for _, x := range rb.Steps[i : last+1] {
			if x.Manual {
				manual++
			}
		}
		for _, x := range rb.Steps[i+1 : last+1] {
			budget += x.Budget
		}
		switch {
		case manual == 0:
			row.how = "〇"
		case manual == last+1-i:
			row.how = "手動 / by hand"
		default:
			row.how = "一部手動 / partly by hand"
		}
		row.limit = budget.String()
		out = append(out, row)
		i = last
	}
	return out
}

func detail(b *strings.Builder, s Step, says func(string) string) {
	level := "###"
	if len(s.Under) > 0 {
		level = "####"
	}
	fmt.Fprintf(b, "\n%s %s. %s\n\n", level, s.Path, heading(s.Title))
	fmt.Fprintf(b, "- On: %s\n", s.Resource)
	if s.Approval > 0 {
		fmt.Fprintf(b, "- Approval: another person approves it first; the operator waits up to %v.\n", s.Approval)
	}
	if s.Commits {
		b.WriteString("- **Point of commitment.** From here on only forward.\n")
	}
	word := "Act"
	if s.Manual {
		word = "By hand"
	}
	deed(b, "- "+word, "  - ", s.Verb, s.Inputs, s.Check, s.Confirm, says)
	fmt.Fprintf(b, "- At most %v%s\n", s.Budget, map[bool]string{true: ", the wait for the person included", false: ""}[s.Manual])
	switch u := s.Undo; {
	case u == nil:
	case u.Nothing:
		b.WriteString("- Undo: it leaves nothing to take back.\n")
	default:
		deed(b, "- Undo", "  - ", u.Verb, u.Inputs, u.Check, u.Confirm, says)
		fmt.Fprintf(b, "  - at most %v\n", u.Budget)
	}
}

// deed prints a verb with its inputs and the reads beside it. Scripts are printed as they are.
func deed(b *strings.Builder, head, indent, verb string, in map[string]any, check, confirm *Read, says func(string) string) {
	use := func(head, verb string, in map[string]any, explain bool) {
		short, scripts := map[string]any{}, ""
		for name, v := range in {
			if text, ok := v.(string); ok && strings.Contains(text, "\n") {
				scripts += fence(text)
				continue
			}
			short[name] = v
		}
		fmt.Fprintf(b, "%s: %s", head, code(call(verb, short)))
		if s := says(verb); explain && s != "" {
			fmt.Fprintf(b, ". %s", s)
		}
		fmt.Fprintf(b, "\n%s", scripts)
	}
	use(head, verb, in, true)
	if check != nil {
		use(indent+"only if", check.Verb, check.Inputs, false)
	}
	if confirm != nil {
		use(indent+"done when", confirm.Verb, confirm.Inputs, false)
	}
}

// fence is a script as a block inside a list.
func fence(text string) string {
	var b strings.Builder
	b.WriteString("\n    ```sh\n")
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			line = "\n"
		} else {
			line = "    " + line
		}
		b.WriteString(line)
	}
	if !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString("    ```\n\n")
	return b.String()
}

func heading(t Title) string { return strings.ReplaceAll(t.String(), "\n", " ") }

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`) }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "`", "'") + "`"
}
