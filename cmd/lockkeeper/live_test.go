package main

import (
	"strings"
	"testing"
)

func TestBlock_DrawsOverWhatItDrewBefore(t *testing.T) {
	var out strings.Builder
	b := &block{w: &out, size: func() (int, int) { return 20, 4 }}
	if err := b.draw([]string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	if err := b.draw([]string{"three"}); err != nil {
		t.Fatal(err)
	}
	if want := "one\x1b[K\ntwo\x1b[K\n\x1b[J" + "\x1b[2A\rthree\x1b[K\n\x1b[J"; out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
}

func TestBlock_FitsIntoTheTerminal(t *testing.T) {
	var out strings.Builder
	b := &block{w: &out, size: func() (int, int) { return 8, 4 }}
	if err := b.draw([]string{"123456789", "b", "c", "d", "e"}); err != nil {
		t.Fatal(err)
	}
	if want := "1234567…\x1b[K\nb\x1b[K\n… 3 mor…\x1b[K\n\x1b[J"; out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
}

func TestCut_ColoursTakeNoRoom(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"\x1b[31m12345678\x1b[0m", "\x1b[31m12345678\x1b[0m\x1b[0m"},
		{"\x1b[31m123456789\x1b[0m", "\x1b[31m1234567…\x1b[0m"},
		{"äöüäöüäö", "äöüäöüäö"},
		{"", ""},
	} {
		if got := cut(c.line, 8); got != c.want {
			t.Errorf("cut(%q) = %q, want %q", c.line, got, c.want)
		}
	}
}
