package signature

import (
	"strings"
	"testing"
	"time"
)

// FuzzSignature: no text is taken for a signature of a bundle by a key that
// never signed one, and none ends the program.
func FuzzSignature(f *testing.F) {
	f.Add("", "")
	f.Add("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg\n-----END SSH SIGNATURE-----\n", "alice namespaces=\"x\" ssh-ed25519 AAAA")
	f.Add(strings.Repeat("A", 100), "alice valid-before=\"20260101\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg")
	const known = "alice ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg\n"
	t, err := ParseTrust([]byte(known))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(tt *testing.T, text, trusts string) {
		if name, err := t.Verify(digest, []string{text}, time.Now()); err == nil {
			tt.Fatalf("%q is taken for %s's", text, name)
		}
		_, _ = Signer(digest, text)
		if other, err := ParseTrust([]byte(trusts)); err == nil {
			_, _ = other.Verify(digest, []string{text}, time.Now())
		}
	})
}
