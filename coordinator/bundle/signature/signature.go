// Package signature says who vouches for a bundle: SSH signatures over its
// digest, made by any SSH key, agent or hardware token, and verified against a
// file of allowed signers as ssh-keygen(1) has it.
//
// What is signed is the digest as `lockkeeper bundle create` prints it, with its
// line feed, in the namespace Namespace. So these two are the same:
//
//	lockkeeper bundle sign DIGEST --key KEY
//	echo DIGEST | ssh-keygen -Y sign -n lockkeeper-bundle -f KEY
package signature

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	// Namespace of the signatures: one made for something else does not count.
	Namespace = "lockkeeper-bundle"
	// MaxSize of one signature, in bytes of its text.
	MaxSize = 16 << 10
	// MaxKept is how many signatures of one bundle a coordinator keeps.
	MaxKept = 16
)

func signed(digest string) *bytes.Reader { return bytes.NewReader([]byte(digest + "\n")) }

// Sign signs a bundle's digest, and returns the signature as text.
func Sign(digest string, key ssh.Signer) (string, error) {
	s, err := sshsig.Sign(signed(digest), key, sshsig.HashSHA512, Namespace)
	if err != nil {
		return "", err
	}
	return string(sshsig.Armor(s)), nil
}

// Signer verifies that a text is a signature of a bundle's digest and returns
// the fingerprint of the key that made it, which need not be trusted.
func Signer(digest, text string) (string, error) {
	s, err := parse(text)
	if err != nil {
		return "", err
	}
	if err := verify(digest, s, s.PublicKey); err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(s.PublicKey), nil
}

func parse(text string) (*sshsig.Signature, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("a signature of %d bytes; accepted: at most %d", len(text), MaxSize)
	}
	s, err := sshsig.Unarmor([]byte(strings.TrimSpace(text) + "\n"))
	if err != nil {
		return nil, fmt.Errorf("not an SSH signature (%w); accepted: what `lockkeeper bundle sign` or `ssh-keygen -Y sign` prints", err)
	}
	if s.Namespace != Namespace {
		return nil, fmt.Errorf("a signature for %q; accepted: one made with `-n %s`", s.Namespace, Namespace)
	}
	if s.HashAlgorithm != sshsig.HashSHA512 {
		return nil, fmt.Errorf("a signature over a %s hash; accepted: sha512, as ssh-keygen makes it unless told otherwise", s.HashAlgorithm)
	}
	return s, nil
}

func verify(digest string, s *sshsig.Signature, key ssh.PublicKey) error {
	err := sshsig.Verify(signed(digest), s, key, sshsig.HashSHA512, Namespace)
	if errors.Is(err, sshsig.ErrPublicKeyMismatch) {
		return err
	}
	if err != nil {
		return fmt.Errorf("the signature by %s is not of the bundle %s", ssh.FingerprintSHA256(s.PublicKey), digest)
	}
	return nil
}
