package signature

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// ErrUntrusted: nobody who is trusted has signed the bundle.
var ErrUntrusted = errors.New("not signed by anybody whom this host trusts")

// minRSA is the shortest RSA key that is trusted, in bits.
const minRSA = 2048

// Trust is who may sign bundles. A nil Trust asks for no signature.
type Trust struct{ keys []trusted }

type trusted struct {
	name          string
	key           ssh.PublicKey
	after, before time.Time // zero: without bound
}

// ReadTrust reads a file of allowed signers: each line has principals, options
// and a public key, or the public key alone. The options are namespaces,
// valid-after and valid-before.
func ReadTrust(file string) (*Trust, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := ParseTrust(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// ParseTrust reads the text of such a file. It needs one key at least.
func ParseTrust(text []byte) (*Trust, error) {
	t := &Trust{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(line))
		if line == "" || line[0] == '#' {
			continue
		}
		k, usable, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w; accepted: PRINCIPAL [OPTIONS] KEYTYPE KEY, as in an allowed_signers file of ssh-keygen, or a public key alone", n, err)
		}
		if usable {
			t.keys = append(t.keys, k)
		}
	}
	if len(t.keys) == 0 {
		return nil, errors.New("no key in it that may sign in the namespace " + Namespace + "; accepted: one at least")
	}
	return t, nil
}

// parseLine reads one line; usable is false for a key of other namespaces.
func parseLine(line string) (k trusted, usable bool, err error) {
	rest := line
	first, after, _ := strings.Cut(line, " ")
	if !isKeyType(first) {
		// Options without a principal before them must not be taken for one, or
		// what they forbid would be allowed.
		if strings.ContainsAny(first, "=\"") || slices.Contains([]string{"cert-authority", "no-touch-required", "restrict"}, first) {
			return k, false, fmt.Errorf("%q stands where the principal is to stand", first)
		}
		k.name, rest = first, after
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return k, false, err
	}
	if k.key, err = strong(key); err != nil {
		return k, false, err
	}
	if k.name == "" {
		if k.name = comment; comment == "" {
			k.name = ssh.FingerprintSHA256(key)
		}
	}
	usable = true
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			usable = slices.ContainsFunc(strings.Split(value, ","), func(p string) bool {
				ok, err := path.Match(p, Namespace)
				return ok && err == nil
			})
		case "valid-after":
			k.after, err = moment(value)
		case "valid-before":
			k.before, err = moment(value)
		default:
			err = fmt.Errorf("option %q is not known here", name)
		}
		if err != nil {
			return k, false, err
		}
	}
	return k, usable, nil
}

func isKeyType(word string) bool {
	return slices.Contains([]string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoRSA, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	}, word)
}

func strong(key ssh.PublicKey) (ssh.PublicKey, error) {
	if !isKeyType(key.Type()) {
		return nil, fmt.Errorf("a key of type %s", key.Type())
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits, where %d are the least", r.N.BitLen(), minRSA)
		}
	}
	return key, nil
}

// moment reads YYYYMMDD[HHMM[SS]], local time, or UTC with a Z behind it.
func moment(text string) (time.Time, error) {
	in, digits := time.Local, text
	if d, ok := strings.CutSuffix(text, "Z"); ok {
		in, digits = time.UTC, d
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.ParseInLocation(layout, digits, in); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want a date as YYYYMMDD or YYYYMMDDHHMM, with a Z behind it for UTC", text)
}

// Names lists who is trusted.
func (t *Trust) Names() []string {
	names := make([]string, 0, len(t.keys))
	for _, k := range t.keys {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Verify returns the name of a trusted signer of the bundle; now is for keys
// with a time in which they count. The error wraps ErrUntrusted, and says what
// each signature lacks.
func (t *Trust) Verify(digest string, signatures []string, now time.Time) (string, error) {
	if len(signatures) == 0 {
		return "", fmt.Errorf("%w: it has no signature; accepted: one by %s", ErrUntrusted, strings.Join(t.Names(), ", "))
	}
	var why []string
	for _, text := range signatures {
		name, err := t.verifyOne(digest, text, now)
		if err == nil {
			return name, nil
		}
		why = append(why, err.Error())
	}
	return "", fmt.Errorf("%w: %s; accepted: one by %s", ErrUntrusted, strings.Join(why, "; "), strings.Join(t.Names(), ", "))
}

func (t *Trust) verifyOne(digest, text string, now time.Time) (string, error) {
	s, err := parse(text)
	if err != nil {
		return "", err
	}
	why := "the key " + ssh.FingerprintSHA256(s.PublicKey) + " is not among the trusted ones"
	for _, k := range t.keys {
		err := verify(digest, s, k.key)
		switch {
		case errors.Is(err, sshsig.ErrPublicKeyMismatch):
			continue
		case err != nil:
			return "", err
		case !k.after.IsZero() && now.Before(k.after):
			why = "the key of " + k.name + " counts from " + k.after.Format(time.RFC3339) + " on"
		case !k.before.IsZero() && !now.Before(k.before):
			why = "the key of " + k.name + " counted until " + k.before.Format(time.RFC3339)
		default:
			return k.name, nil
		}
	}
	return "", errors.New(why)
}
