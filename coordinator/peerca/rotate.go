package peerca

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// nextKeyFile is the key of the authority that is to come, beside that of now.
const nextKeyFile = "next.key"

// One authority takes the place of another in three steps. Each is done by one
// rename at its end, and may be done again.

// Trust has the folder believe a next authority beside the one of now, in place
// of any other.
func (c *CA) Trust(dir string, next *CA) (*CA, error) {
	_, key, err := next.PEM()
	if err != nil {
		return nil, err
	}
	if err := write(dir, nextKeyFile, key); err != nil {
		return nil, err
	}
	return (&CA{cert: c.cert, key: c.key, beside: []*x509.Certificate{next.cert}}).again(dir)
}

// Switch makes the next authority the one of the folder. The one of before is
// believed still.
func (c *CA) Switch(dir string) (*CA, error) {
	key, err := os.ReadFile(filepath.Join(dir, nextKeyFile))
	if err != nil {
		return nil, fmt.Errorf("the key of the next authority: %w", err)
	}
	certs, _, err := c.PEM()
	if err != nil {
		return nil, err
	}
	next, err := Parse(certs, key)
	if err != nil {
		return nil, fmt.Errorf("the next authority: %w", err)
	}
	if err := write(dir, caKeyFile, key); err != nil { // from here on it is
		return nil, err
	}
	return next.again(dir)
}

// Alone has the folder believe the authority of now and no other.
func (c *CA) Alone(dir string) (*CA, error) {
	alone, err := (&CA{cert: c.cert, key: c.key}).again(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(dir, nextKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return alone, nil
}

// again writes the certificates that are believed.
func (c *CA) again(dir string) (*CA, error) {
	certs, _, err := c.PEM()
	if err != nil {
		return nil, err
	}
	return c, write(dir, caCertFile, certs)
}

// sealed is an authority for those who have another one.
type sealed struct {
	Nonce []byte `json:"nonce"`
	Text  []byte `json:"text"`
}

type pair struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// Seal hides the next authority from everybody who does not have this one.
func (c *CA) Seal(next *CA) ([]byte, error) {
	gcm, err := c.cipher()
	if err != nil {
		return nil, err
	}
	cert, key, err := next.PEM()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(pair{Cert: cert, Key: key})
	if err != nil {
		return nil, err
	}
	s := sealed{Nonce: make([]byte, gcm.NonceSize())}
	if _, err := rand.Read(s.Nonce); err != nil {
		return nil, err
	}
	s.Text = gcm.Seal(nil, s.Nonce, text, nil)
	return json.Marshal(s)
}

// Open is the authority that Seal hid.
func (c *CA) Open(text []byte) (*CA, error) {
	gcm, err := c.cipher()
	if err != nil {
		return nil, err
	}
	var s sealed
	if err := json.Unmarshal(text, &s); err != nil || len(s.Nonce) != gcm.NonceSize() {
		return nil, errors.New("that is no sealed authority")
	}
	plain, err := gcm.Open(nil, s.Nonce, s.Text, nil)
	if err != nil {
		return nil, errors.New("it is sealed for members that have another authority than this one")
	}
	var p pair
	if err := json.Unmarshal(plain, &p); err != nil {
		return nil, err
	}
	return Parse(p.Cert, p.Key)
}

func (c *CA) cipher() (cipher.AEAD, error) {
	secret, err := c.key.Bytes()
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "lockkeeper: the next authority", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
