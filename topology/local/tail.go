package local

import (
	"io"
	"os"
	"strings"
)

// tailLimit bounds what is read of a log's end.
const tailLimit = 1 << 20

// tailFile returns the last n lines of a file.
func tailFile(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if absent(err) {
		return nil, nil // it never wrote
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	at := max(0, info.Size()-tailLimit)
	b := make([]byte, info.Size()-at)
	if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
		return nil, err
	}
	text := strings.TrimRight(string(b), "\n")
	if text == "" || n <= 0 {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):], nil
}
