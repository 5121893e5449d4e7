// Package docpage keeps the parts of the documentation that are made from the
// program as the program makes them.
package docpage

import (
	"fmt"
	"os"
	"strings"
)

// Check compares a part of a page, between the lines "<!-- NAME: … -->" and
// "<!-- end of NAME -->", with what it should be. With update it writes that
// instead.
func Check(path, name, want string, update bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page := string(text)
	_, after, begun := strings.Cut(page, "<!-- "+name+":")
	_, after, _ = strings.Cut(after, "-->\n")
	have, rest, ended := strings.Cut(after, "<!-- end of "+name+" -->")
	if !begun || !ended {
		return fmt.Errorf("%s has no part %s: want lines <!-- %s: … --> and <!-- end of %s -->", path, name, name, name)
	}
	if have == want {
		return nil
	}
	if !update {
		return fmt.Errorf("%s: %s is not what the program has; `go test ./docs ./cmd/lockkeeper-agent -args -update` writes it anew\n%s", path, name, differ(have, want))
	}
	return os.WriteFile(path, []byte(page[:len(page)-len(after)]+want+page[len(page)-len(rest)-len("<!-- end of "+name+" -->"):]), 0o644)
}

// differ shows the lines that only one of two texts has.
func differ(have, want string) string {
	var b strings.Builder
	only := func(mark, in, other string) {
		lines := map[string]bool{}
		for line := range strings.Lines(other) {
			lines[line] = true
		}
		for line := range strings.Lines(in) {
			if !lines[line] {
				b.WriteString(mark + line)
			}
		}
	}
	only("- ", have, want)
	only("+ ", want, have)
	return b.String()
}
