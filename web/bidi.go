package web

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Names may hold characters that turn the direction of the text around them: an
// id could pass for another one, or reorder what stands beside it. In what a
// person reads they are written out; attributes keep them, as forms send those back.

// turns reports whether a character changes the direction of text.
func turns(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c'
}

// straight writes such characters out in the text of a page, as [U+202E]. Outside
// of tags there is no "<", and within them no ">", that is not escaped.
func straight(html []byte) []byte {
	if !bytes.ContainsFunc(html, turns) {
		return html
	}
	out := make([]byte, 0, len(html)+64)
	inTag := false
	for i := 0; i < len(html); {
		r, size := utf8.DecodeRune(html[i:])
		switch {
		case r == '<':
			inTag = true
		case r == '>':
			inTag = false
		}
		if turns(r) && !inTag {
			out = fmt.Appendf(out, "[U+%04X]", r)
		} else {
			out = append(out, html[i:i+size]...)
		}
		i += size
	}
	return out
}
