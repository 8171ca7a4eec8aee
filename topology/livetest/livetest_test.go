package livetest

import "testing"

func TestAsked(t *testing.T) {
	for _, c := range []struct {
		live, without   string
		servers, engine bool
	}{
		{"1", "", true, true},
		{"1", "1", true, false},
		{"", "", false, false},
		{"0", "", false, false},
		{"", "1", false, false},
	} {
		t.Setenv(Variable, c.live)
		t.Setenv(withoutDocker, c.without)
		for _, x := range []struct {
			name string
			want bool
			ask  func(testing.TB)
			says bool
		}{{"servers", c.servers, Servers, Asked()}, {"engine", c.engine, Engine, EngineAsked()}} {
			var played bool
			t.Run("asked", func(t *testing.T) {
				inner := &left{TB: t}
				func() {
					defer func() { _ = recover() }()
					x.ask(inner)
				}()
				played = !inner.out
				if inner.out && inner.why == "" {
					t.Error("it does not say why")
				}
			})
			if played != x.want || x.says != x.want {
				t.Errorf("%+v: %s played %v, said to be asked for %v", c, x.name, played, x.says)
			}
		}
	}
}

// left is a test that leaves itself out, and is not left by that.
type left struct {
	testing.TB
	out bool
	why string
}

func (l *left) Helper() {}

func (l *left) Skip(args ...any) {
	l.out, l.why = true, args[0].(string)
	panic("left out")
}
