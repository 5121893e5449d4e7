// Package shellword writes ids into commands that a person copies into a shell.
package shellword

import (
	"fmt"
	"strings"
	"unicode"
)

// Word writes one argument of a command: a node may be named by any text, and no
// shell may run a part of it. What a page or a terminal cannot show, such as a line
// break, is written as an escape.
func Word(s string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/@%+,=", r)
	}
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case strings.IndexFunc(s, hidden) < 0:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return "$'" + b.String() + "'"
}

// Argument is a Word that is no flag either: the last word of a command, since flags
// cannot follow.
func Argument(s string) string {
	if strings.HasPrefix(s, "-") {
		return "-- " + Word(s)
	}
	return Word(s)
}
