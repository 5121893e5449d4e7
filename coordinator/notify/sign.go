package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Secret signs. It does not print itself.
type Secret struct{ key []byte }

// String keeps the key out of logs.
func (Secret) String() string { return "secret" }

const (
	secretPrefix = "whsec_"
	maxSecrets   = 4
)

// ParseSecrets reads secrets as the Standard Webhooks specification writes
// them, one a line: "whsec_" and the base64 of 24 to 64 bytes. Every one of
// them signs, so that a secret can be replaced without a gap.
func ParseSecrets(text string) ([]Secret, error) {
	var list []Secret
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		coded, ok := strings.CutPrefix(line, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(coded)
		if !ok || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, fmt.Errorf("secret %d: want %s and the base64 of 24 to 64 bytes, as from: echo whsec_$(openssl rand -base64 32)", len(list)+1, secretPrefix)
		}
		list = append(list, Secret{key})
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("no secret: want one a line")
	case len(list) > maxSecrets:
		return nil, fmt.Errorf("%d secrets: want at most %d", len(list), maxSecrets)
	}
	return list, nil
}

// signature is the value of the header webhook-signature.
func signature(secrets []Secret, id, timestamp string, body []byte) string {
	var list []string
	for _, s := range secrets {
		mac := hmac.New(sha256.New, s.key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(list, " ")
}
