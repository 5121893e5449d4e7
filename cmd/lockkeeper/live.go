package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// block is a few lines at the end of a terminal that are drawn again in place.
type block struct {
	w     io.Writer
	size  func() (width, height int)
	drawn int // lines that stand there now
}

func newBlock(w io.Writer) *block {
	return &block{w: w, size: func() (int, int) {
		if f, ok := w.(*os.File); ok {
			if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 1 {
				return width, height
			}
		}
		return 80, 24
	}}
}

// draw replaces the block. Lines are cut to the terminal's width, for one that
// wraps would not be found again, and the block to its height.
func (b *block) draw(lines []string) error {
	width, height := b.size()
	if room := height - 1; len(lines) > room {
		hidden := len(lines) - room + 1
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… %d more lines", hidden))
	}
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r", b.drawn)
	}
	for _, line := range lines {
		out.WriteString(cut(line, width) + "\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	b.drawn = len(lines)
	_, err := io.WriteString(b.w, out.String())
	return err
}

// cut shortens a line to so many characters; colours take no room.
func cut(line string, width int) string {
	var out strings.Builder
	shown := 0
	coloured := false
	for rest := line; rest != ""; {
		if strings.HasPrefix(rest, "\x1b[") {
			if end := strings.IndexByte(rest, 'm'); end >= 0 {
				out.WriteString(rest[:end+1])
				rest, coloured = rest[end+1:], true
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(rest)
		if shown == width-1 && utf8.RuneCountInString(withoutColour(rest)) > 1 {
			out.WriteString("…")
			break
		}
		out.WriteRune(r)
		rest = rest[size:]
		shown++
	}
	if coloured {
		out.WriteString("\x1b[0m")
	}
	return out.String()
}

func withoutColour(s string) string {
	var out strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, "\x1b[")
		out.WriteString(before)
		if !found {
			break
		}
		if _, s, found = strings.Cut(after, "m"); !found {
			break
		}
	}
	return out.String()
}
