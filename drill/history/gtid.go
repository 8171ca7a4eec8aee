package history

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// GTIDSet is a MySQL GTID set with tags (MySQL ≥ 8.3: "uuid:1-3:canary:1-2:pay:1,uuid2:5"). The zero value is empty.
// Its algebra is GTID_SUBTRACT's, done here so that judges need no server.
type GTIDSet struct {
	sets map[string][]span // "uuid" or "uuid:tag" → sorted, disjoint intervals
}

type span struct{ lo, hi int64 }

// ParseGTIDSet reads the text that MySQL prints; white space and line breaks are allowed.
func ParseGTIDSet(s string) (GTIDSet, error) {
	g := GTIDSet{sets: map[string][]span{}}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		fields := strings.Split(part, ":")
		uuid := strings.ToLower(strings.TrimSpace(fields[0]))
		if len(uuid) != 36 || len(fields) < 2 {
			return GTIDSet{}, fmt.Errorf("parse GTID set: %q is not uuid[:tag]:interval…", part)
		}
		key, bare := uuid, true // bare: an interval must follow
		for _, f := range fields[1:] {
			f = strings.TrimSpace(f)
			if f == "" {
				return GTIDSet{}, fmt.Errorf("parse GTID set: empty interval in %q", part)
			}
			if f[0] < '0' || f[0] > '9' {
				if !isTag(f) || bare && key != uuid {
					return GTIDSet{}, fmt.Errorf("parse GTID set: %q in %q is no tag with an interval", f, part)
				}
				key, bare = uuid+":"+strings.ToLower(f), true
				continue
			}
			lo, hi, ranged := strings.Cut(f, "-")
			a, err := strconv.ParseInt(lo, 10, 64)
			b := a
			if err == nil && ranged {
				b, err = strconv.ParseInt(hi, 10, 64)
			}
			if err != nil || a < 1 || b < a {
				return GTIDSet{}, fmt.Errorf("parse GTID set: %q is not an interval", f)
			}
			g.sets[key] = append(g.sets[key], span{a, b})
			bare = false
		}
		if bare {
			return GTIDSet{}, fmt.Errorf("parse GTID set: %q ends without an interval", part)
		}
	}
	for key, spans := range g.sets {
		g.sets[key] = merge(spans)
	}
	return g, nil
}

// isTag says whether MySQL would take s as a tag: a letter or underscore, then letters, digits and underscores, 32 at most.
func isTag(s string) bool {
	for i, c := range strings.ToLower(s) {
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(s) <= 32
}

func merge(s []span) []span {
	sort.Slice(s, func(i, j int) bool { return s[i].lo < s[j].lo })
	var out []span
	for _, x := range s {
		if n := len(out); n > 0 && x.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, x.hi)
			continue
		}
		out = append(out, x)
	}
	return out
}

// Subtract returns the GTIDs of g that are not in h.
func (g GTIDSet) Subtract(h GTIDSet) GTIDSet {
	out := GTIDSet{sets: map[string][]span{}}
	for key, spans := range g.sets {
		var rest []span
		for _, s := range spans {
			lo := s.lo
			for _, c := range h.sets[key] {
				if c.hi < lo || c.lo > s.hi {
					continue
				}
				if c.lo > lo {
					rest = append(rest, span{lo, c.lo - 1})
				}
				lo = c.hi + 1
			}
			if lo <= s.hi {
				rest = append(rest, span{lo, s.hi})
			}
		}
		if len(rest) > 0 {
			out.sets[key] = rest
		}
	}
	return out
}

// Union returns the GTIDs of g and h.
func (g GTIDSet) Union(h GTIDSet) GTIDSet {
	out := GTIDSet{sets: map[string][]span{}}
	for _, s := range []GTIDSet{g, h} {
		for key, spans := range s.sets {
			out.sets[key] = merge(append(append([]span(nil), out.sets[key]...), spans...))
		}
	}
	return out
}

// Contains says whether the set holds one GTID, "uuid:n" or "uuid:tag:n".
func (g GTIDSet) Contains(gtid string) bool {
	one, err := ParseGTIDSet(gtid)
	if err != nil || len(one.sets) != 1 {
		return false
	}
	return one.Subtract(g).Empty()
}

// Server returns the part of the set that one server wrote, by its UUID.
func (g GTIDSet) Server(uuid string) GTIDSet {
	out := GTIDSet{sets: map[string][]span{}}
	for key, spans := range g.sets {
		if by, _, _ := strings.Cut(key, ":"); by == strings.ToLower(uuid) {
			out.sets[key] = spans
		}
	}
	return out
}

// Empty says whether the set holds nothing.
func (g GTIDSet) Empty() bool { return len(g.sets) == 0 }

// Count returns how many GTIDs of one tag the set holds, over all servers; tag "" counts the untagged ones.
func (g GTIDSet) Count(tag string) int64 {
	var n int64
	for key, spans := range g.sets {
		_, t, _ := strings.Cut(key, ":")
		if t != tag {
			continue
		}
		for _, s := range spans {
			n += s.hi - s.lo + 1
		}
	}
	return n
}

// String prints the set as MySQL does, tags of one server joined, in order.
func (g GTIDSet) String() string {
	keys := make([]string, 0, len(g.sets))
	for k := range g.sets {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	last := ""
	for _, k := range keys {
		uuid, tag, _ := strings.Cut(k, ":")
		if uuid != last {
			if last != "" {
				b.WriteByte(',')
			}
			b.WriteString(uuid)
			last = uuid
		}
		if tag != "" {
			b.WriteString(":" + tag)
		}
		for _, s := range g.sets[k] {
			fmt.Fprintf(&b, ":%d", s.lo)
			if s.hi > s.lo {
				fmt.Fprintf(&b, "-%d", s.hi)
			}
		}
	}
	return b.String()
}
