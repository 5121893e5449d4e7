package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// SecretPrefix begins every secret, so that scanners find one that leaked.
const SecretPrefix = "lk_"

// secretBytes are random: guessing one is out of reach, so a plain SHA-256 is
// enough at rest and no slow hash is needed.
const secretBytes = 32

// idDigits of a token's hash are its id: a secret finds its token without a
// search, and the id alone tells nothing.
const idDigits = 16

// NewSecret makes a credential. Only its hash is ever stored.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails, by its documentation
	return SecretPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// Hash is what is stored of a secret: its SHA-256, in hex.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// TokenID is the id of the token with that hash.
func TokenID(hash string) string {
	if len(hash) < idDigits {
		return ""
	}
	return hash[:idDigits]
}

// LooksLikeSecret reports whether a text has the form of a secret.
func LooksLikeSecret(s string) bool {
	text, found := strings.CutPrefix(s, SecretPrefix)
	b, err := base64.RawURLEncoding.DecodeString(text)
	return found && err == nil && len(b) == secretBytes
}

// Matches compares a secret with a stored hash, in constant time.
func Matches(secret, hash string) bool {
	return subtle.ConstantTimeCompare([]byte(Hash(secret)), []byte(hash)) == 1
}
