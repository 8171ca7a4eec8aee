package history

import "strings"

// ByTag splits the set by the tags of its GTIDs: what each kind of transaction left behind. Those without a tag are under "".
func (g GTIDSet) ByTag() map[string]GTIDSet {
	out := map[string]GTIDSet{}
	for key, spans := range g.sets {
		_, tag, _ := strings.Cut(key, ":")
		if out[tag].sets == nil {
			out[tag] = GTIDSet{sets: map[string][]span{}}
		}
		out[tag].sets[key] = spans
	}
	return out
}
