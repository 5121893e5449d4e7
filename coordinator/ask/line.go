package ask

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds a line for people, in bytes.
const maxLine = 500

// Line makes one line for people of what another service said: white space and
// control characters are spaces, and what is too long is cut.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '�'
		case unicode.IsSpace(r), !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxLine {
		return text
	}
	cut := maxLine
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " …"
}
