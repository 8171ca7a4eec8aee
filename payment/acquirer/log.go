package acquirer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// openLog reads a log of JSON lines, and opens it for appending. A last line without its end is removed.
func openLog[T any](path, what string, log *slog.Logger, take func(T)) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", what, err)
	}
	fail := func(err error) (*os.File, error) {
		f.Close()
		return nil, err
	}
	whole, lines := int64(0), 0
	for in := bufio.NewReader(f); ; {
		b, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(b) > 0 {
				log.Warn(what+" ended in the middle of a line; the line is removed", "log", path, "bytes", len(b))
				if err := f.Truncate(whole); err != nil {
					return fail(fmt.Errorf("repair %s %s: %w", what, path, err))
				}
			}
			return f, nil
		}
		if err != nil {
			return fail(fmt.Errorf("read %s %s: %w", what, path, err))
		}
		var l T
		lines++
		if err := json.Unmarshal(b, &l); err != nil {
			return fail(fmt.Errorf("read %s %s line %d: %w", what, path, lines, err))
		}
		take(l)
		whole += int64(len(b))
	}
}

// ReadLog reads the log of charges at path: all whole lines, in order.
func ReadLog(path string) ([]Line, error) { return readLines[Line](path) }

// ReadClosings reads the log of refunds and voids at path: all whole lines, in order.
func ReadClosings(path string) ([]Closing, error) { return readLines[Closing](path) }

func readLines[T any](path string) ([]T, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read acquirer's log: %w", err)
	}
	var out []T
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			return out, nil
		}
		var l T
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("read acquirer's log %s line %d: %w", path, n, err)
		}
		out, b = append(out, l), rest
	}
}
