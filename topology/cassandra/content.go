package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gocql/gocql"
)

// ErrTooMuch says that a keyspace has more rows than a comparison was allowed to read: nothing was compared.
var ErrTooMuch = errors.New("more rows than a comparison may read")

// Content is every row of every table of one keyspace, as one region gives it at LOCAL_QUORUM.
type Content struct {
	Name     string // session that read it
	Keyspace string
	// Tables are the rows by their primary keys: the values of the key's columns joined by "/", and all other columns as one text.
	Tables map[string]map[string]string
}

// Rows counts the rows of all tables.
func (c Content) Rows() int {
	n := 0
	for _, t := range c.Tables {
		n += len(t)
	}
	return n
}

// Content reads every row of every table of a keyspace at LOCAL_QUORUM, page by page, at most limit rows of all of them together
// (more: ErrTooMuch). Tables that are written meanwhile are read as they are at different moments.
func (s *Session) Content(ctx context.Context, keyspace string, limit int) (Content, error) {
	return s.contentAt(ctx, keyspace, limit, gocql.LocalQuorum)
}

func (s *Session) contentAt(ctx context.Context, keyspace string, limit int, level gocql.Consistency) (Content, error) {
	c := Content{Name: s.name, Keyspace: keyspace, Tables: map[string]map[string]string{}}
	tables, err := s.tables(ctx, keyspace)
	if err != nil {
		return c, err
	}
	left := limit
	for _, t := range slices.Sorted(maps.Keys(tables)) {
		rows, err := s.rows(ctx, keyspace, t, tables[t], left, level)
		if err != nil {
			return c, err
		}
		left -= len(rows)
		c.Tables[t] = rows
	}
	return c, nil
}

// columns of one table.
type columns struct {
	key  []string // of the primary key, in their order
	rest []string // in alphabetical order
}

// tables reads which tables a keyspace has and what they are made of.
func (s *Session) tables(ctx context.Context, keyspace string) (map[string]columns, error) {
	const what = "read tables"
	out := map[string]columns{}
	it := s.cql.Query("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", keyspace).Consistency(gocql.One).WithContext(ctx).Iter()
	var table string
	for it.Scan(&table) {
		out[table] = columns{}
	}
	if err := it.Close(); err != nil {
		return nil, s.wrap(what, err)
	}
	if len(out) == 0 {
		return nil, s.wrap(what, fmt.Errorf("there is no keyspace %s with tables", keyspace))
	}
	type part struct {
		name     string
		position int
	}
	partition, clustering := map[string][]part{}, map[string][]part{}
	it = s.cql.Query("SELECT table_name, column_name, kind, position FROM system_schema.columns WHERE keyspace_name = ?", keyspace).
		Consistency(gocql.One).WithContext(ctx).Iter()
	var column, kind string
	var position int
	for it.Scan(&table, &column, &kind, &position) {
		switch kind {
		case "partition_key":
			partition[table] = append(partition[table], part{column, position})
		case "clustering":
			clustering[table] = append(clustering[table], part{column, position})
		default:
			c := out[table]
			c.rest = append(c.rest, column)
			out[table] = c
		}
	}
	if err := it.Close(); err != nil {
		return nil, s.wrap(what, err)
	}
	for t, c := range out {
		for _, parts := range [][]part{partition[t], clustering[t]} {
			slices.SortFunc(parts, func(a, b part) int { return a.position - b.position })
			for _, p := range parts {
				c.key = append(c.key, p.name)
			}
		}
		slices.Sort(c.rest)
		out[t] = c
	}
	return out, nil
}

// rows reads all rows of one table, at most limit.
func (s *Session) rows(ctx context.Context, keyspace, table string, c columns, limit int, level gocql.Consistency) (map[string]string, error) {
	var names []string
	for _, n := range slices.Concat(c.key, c.rest) {
		names = append(names, quoted(n))
	}
	it := s.cql.Query("SELECT " + strings.Join(names, ", ") + " FROM " + quoted(keyspace) + "." + quoted(table)).
		Consistency(level).WithContext(ctx).Iter()
	out := map[string]string{}
	for {
		cells := map[string]any{}
		if !it.MapScan(cells) {
			break
		}
		if len(out) == limit {
			_ = it.Close() // what it would say now is about a read that is given up
			return nil, fmt.Errorf("read %s.%s at Cassandra %s: %w", keyspace, table, s.name, ErrTooMuch)
		}
		out[texts(c.key, cells, "/")] = texts(c.rest, cells, ", ")
	}
	if err := it.Close(); err != nil {
		return nil, s.wrap("read "+keyspace+"."+table, err)
	}
	return out, nil
}

// texts are the values of some columns; those of a key alone, the others with their names.
func texts(columns []string, cells map[string]any, between string) string {
	var out []string
	for _, n := range columns {
		text := "null"
		if v, ok := cells[n]; ok && v != nil {
			text = fmt.Sprint(v)
		}
		if between != "/" {
			text = n + "=" + text
		}
		out = append(out, text)
	}
	return strings.Join(out, between)
}

// quoted is a name of CQL, case and all.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Difference is how a second content differs from a first one. Keys are "table/key", in order.
type Difference struct {
	Missing   []string // in the first, not in the second
	Extra     []string // in the second, not in the first
	Different []string // in both, with other values
}

// Empty says that there is none.
func (d Difference) Empty() bool { return len(d.Missing)+len(d.Extra)+len(d.Different) == 0 }

// String counts and names the first few.
func (d Difference) String() string {
	var out []string
	for _, x := range []struct {
		what string
		keys []string
	}{{"missing", d.Missing}, {"extra", d.Extra}, {"different", d.Different}} {
		if len(x.keys) == 0 {
			continue
		}
		shown, more := x.keys, ""
		if len(shown) > 5 {
			shown, more = shown[:5], " …"
		}
		out = append(out, fmt.Sprintf("%d %s: %s%s", len(x.keys), x.what, strings.Join(shown, " "), more))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, "; ")
}

// Diff says how another content differs from this one.
func (c Content) Diff(other Content) Difference {
	var d Difference
	for t, rows := range c.Tables {
		for key, row := range rows {
			switch now, ok := other.Tables[t][key]; {
			case !ok:
				d.Missing = append(d.Missing, t+"/"+key)
			case now != row:
				d.Different = append(d.Different, t+"/"+key)
			}
		}
	}
	for t, rows := range other.Tables {
		for key := range rows {
			if _, ok := c.Tables[t][key]; !ok {
				d.Extra = append(d.Extra, t+"/"+key)
			}
		}
	}
	for _, keys := range [][]string{d.Missing, d.Extra, d.Different} {
		slices.Sort(keys)
	}
	return d
}

// Hinted counts the files of hints that the node at "ip:port" of CQL keeps on its disk for others (system_views.pending_hints,
// Cassandra ≥ 4.1). Hints that it was given in the last seconds are still in its memory, and not counted.
func Hinted(ctx context.Context, node string) (files int, err error) {
	s, err := openNode(ctx, node)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	it := s.cql.Query("SELECT files FROM system_views.pending_hints").Consistency(gocql.One).WithContext(ctx).Iter()
	var n int
	for it.Scan(&n) {
		files += n
	}
	return files, s.wrap("read pending hints", it.Close())
}
