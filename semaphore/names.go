package semaphore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxNodeID is the longest node id, in bytes.
const MaxNodeID = 1024

// ValidGroup reports why a text is no group name. FleetLock gives the form:
// ^[a-zA-Z0-9.-]+$, here of at most 253 bytes.
func ValidGroup(name string) error {
	ok := name != "" && len(name) <= 253
	for i := 0; ok && i < len(name); i++ {
		ok = alphanumeric(name[i]) || name[i] == '.' || name[i] == '-'
	}
	if !ok {
		return fmt.Errorf("group %q: want 1 to 253 of the characters a-z A-Z 0-9 . -", name)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// ValidLabel reports why a text is no name of a label. Those of Kubernetes and of
// Prometheus are names: topology.kubernetes.io/zone, rack, __role. What selectors,
// templates and variables are made of (blanks, commas, equal signs, braces) is not
// in one, and none ends in "-", which takes a label back.
func ValidLabel(name string) error {
	ok := name != "" && len(name) <= MaxLabelName
	for i := 0; ok && i < len(name); i++ {
		inside := i > 0 && i < len(name)-1
		ok = alphanumeric(name[i]) || name[i] == '_' || inside && (name[i] == '.' || name[i] == '-' || name[i] == '/')
	}
	if !ok {
		return fmt.Errorf("label %q: want a name of 1 to %d of the characters a-z A-Z 0-9 _ - . /, such as zone or topology.kubernetes.io/zone, with a letter, a digit or _ first and last", name, MaxLabelName)
	}
	return nil
}

// ValidNode reports why a text is no node id: it may be any non-empty text of
// valid UTF-8 up to MaxNodeID bytes.
func ValidNode(id string) error {
	switch {
	case id == "":
		return errors.New("node id: must not be empty")
	case len(id) > MaxNodeID:
		return fmt.Errorf("node id of %d bytes: at most %d", len(id), MaxNodeID)
	case !utf8.ValidString(id):
		return errors.New("node id: must be valid UTF-8")
	}
	return nil
}

// EscapeID writes an id so that it fits into one segment of an etcd key and of
// a URL's path, and so that no two ids share one: letters, digits, '-', '_',
// '~' and '.' stand for themselves (the texts "." and ".." do not), every
// other byte is %XX in capitals.
func EscapeID(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	plain := 0 // so many bytes stand for themselves
	for plain < len(id) && standsForItself(id[plain]) {
		plain++
	}
	if plain == len(id) {
		return id // as most do, and each request escapes several
	}
	var b strings.Builder
	b.WriteString(id[:plain])
	for i := plain; i < len(id); i++ {
		if c := id[i]; standsForItself(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func standsForItself(c byte) bool {
	return alphanumeric(c) || c == '-' || c == '_' || c == '~' || c == '.'
}

// UnescapeID reads EscapeID's form, and any other percent-encoding of the id.
func UnescapeID(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q: a %% must be followed by two hexadecimal digits", s)
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("%q: a %% must be followed by two hexadecimal digits", s)
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), nil
}
