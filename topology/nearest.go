package topology

import (
	"fmt"
	"strings"
)

// Nearest returns the known name that a mistyped one most likely means, or "" when none is near: a third of its letters, at
// least two, may be wrong.
func Nearest(name string, known []string) string {
	best, least := "", max(2, len([]rune(name))/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Unknown is the error for a name that is not known: what it is, the nearest known one, and all that are known.
func Unknown(what, name string, known []string) error {
	near := ""
	if n := Nearest(name, known); n != "" {
		near = fmt.Sprintf(", did you mean %q?", n)
	}
	return fmt.Errorf("unknown %s %q%s (known: %s)", what, name, near, strings.Join(known, ", "))
}

// distance is Levenshtein's, with two neighbours swapped counted as one edit.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}
