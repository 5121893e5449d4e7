package auth

import (
	"encoding/hex"
	"errors"
	"strings"
)

// JoinToken is what a new coordinator is given: the secret, and how to know the
// cluster that the secret is for.
type JoinToken struct {
	Secret      string
	Fingerprint string // SHA-256 of the cluster's authority, in hexadecimal
	Cluster     string // id
}

// String is the token as it is handed over.
func (t JoinToken) String() string { return t.Secret + "." + t.Fingerprint + "." + t.Cluster }

// ParseJoinToken reads one. The error never quotes it.
func ParseJoinToken(text string) (JoinToken, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	bad := errors.New("that is no join token: want the one line that `lockkeeper cluster token` printed")
	if len(parts) != 3 {
		return JoinToken{}, bad
	}
	t := JoinToken{Secret: parts[0], Fingerprint: parts[1], Cluster: parts[2]}
	sum, err := hex.DecodeString(t.Fingerprint)
	if err != nil || len(sum) != 32 || !LooksLikeSecret(t.Secret) || t.Cluster == "" {
		return JoinToken{}, bad
	}
	return t, nil
}
