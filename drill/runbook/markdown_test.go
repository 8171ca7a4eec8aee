package runbook

import (
	"testing"
	"time"
)

func TestMarkdown(t *testing.T) {
	rb := planned(&fake{}, &fake{}, &fake{}, &fake{}, &fake{})
	rb.Steps[0].Undo.Confirm = &Read{"lamp.dark", map[string]any{"lamp": 1}}
	rb.Steps[1].Approval = 5 * time.Minute
	rb.Steps[2].Path, rb.Steps[2].Under = "3.1", []Call{{Path: "3", Title: Title{"灯|台", "House"}, Resource: "house", File: "lower.yaml"}}
	rb.Steps[3].Path, rb.Steps[3].Under = "3.2", rb.Steps[2].Under
	rb.Steps[2].Manual, rb.Steps[2].Inputs = true, map[string]any{"script": "one\n\ntwo"}
	rb.Steps[2].Check = &Read{"lamp.there", nil}
	want := "# 点灯 / Light the lamps\n\nRendered from the procedure `lamps`, plan `" + rb.Digest()[:12] + "`, with `floor=1`. Do not edit: `kirikae runbook --write` makes it anew.\n\n" +
		"This is a planned switchover: until the point of commitment a failure takes every step back, in reverse order, and each undo is confirmed; after it the procedure only goes forward.\n" + `
| No | リソース / Resource | 実施項目 | Step | 自動 / Automatic | 上限 / At most |
| --- | --- | --- | --- | --- | --- |
| 1 | lamp |  | Light lamp 1 | 〇 | 1m0s |
| 2 | lamp |  | Light lamp 2 | 〇 | 1m0s |
| 3 | house | 灯\|台 | House | 一部手動 / partly by hand | 2m0s |

## 進め方 / How to run it

| | command |
| --- | --- |
` + "| read the plan | `kirikae plan lamps` |\n| see what it would do, and change nothing | `kirikae operate RUN lamps --dry-run` |\n| run it, or resume it after anything | `kirikae operate RUN lamps` |\n" +
		"| pause after the running step, go on | `kirikae pause RUN --why …`, `kirikae continue RUN` |\n| pass a step over | `kirikae operate RUN lamps --skip STEP --why …` |\n" +
		"| approve a step, as another person | `kirikae approve RUN STEP --key FILE` |\n| take it back, before the point of commitment | `kirikae operate RUN lamps --abort --why …` |\n" + `
## 手順 / Steps

### 1. Light lamp 1

- On: lamp
` + "- Act: `lamp.light lamp=1`. Lights it.\n- At most 1m0s\n- Undo: `lamp.restore`\n  - done when: `lamp.dark lamp=1`\n  - at most 1m0s\n" + `
### 2. Light lamp 2

- On: lamp
- Approval: another person approves it first; the operator waits up to 5m0s.
- **Point of commitment.** From here on only forward.
` + "- Act: `lamp.light lamp=2`. Lights it.\n- At most 1m0s\n\n### 3. 灯|台 / House\n\nOn: house. By the lower procedure `lower.yaml`.\n" + `
#### 3.1. Light lamp 3

- On: lamp
` + "- By hand: `lamp.light`. Lights it.\n\n    ```sh\n    one\n\n    two\n    ```\n\n  - only if: `lamp.there`\n- At most 1m0s, the wait for the person included\n" + `
#### 3.2. Light lamp 4

- On: lamp
` + "- Act: `lamp.light lamp=4`. Lights it.\n- At most 1m0s\n"
	got := Markdown(rb, "lamps", func(verb string) string { return map[string]string{"lamp.light": "Lights it."}[verb] })
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
