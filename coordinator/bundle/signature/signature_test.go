package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

var digest = strings.Repeat("ab", 32)

// pair is a new key, and its line for a file of allowed signers.
func pair(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

func sign(t *testing.T, key ssh.Signer, digest string) string {
	t.Helper()
	s, err := Sign(digest, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func trust(t *testing.T, text string) *Trust {
	t.Helper()
	tr, err := ParseTrust([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestVerify_NamesTheTrustedSigner(t *testing.T) {
	alice, a := pair(t)
	eve, _ := pair(t)
	tr := trust(t, "# who may sign\n\nalice@example.com "+a+"\n")
	name, err := tr.Verify(digest, []string{sign(t, eve, digest), sign(t, alice, digest)}, time.Now())
	if err != nil || name != "alice@example.com" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestVerify_RefusesWhatNobodyTrustedHasSignedAndSaysWhy(t *testing.T) {
	alice, a := pair(t)
	eve, _ := pair(t)
	other, err := sshsig.Sign(strings.NewReader(digest+"\n"), alice, sshsig.HashSHA512, "file")
	if err != nil {
		t.Fatal(err)
	}
	weak, err := sshsig.Sign(strings.NewReader(digest+"\n"), alice, sshsig.HashSHA256, Namespace)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, alice, digest)
	for what, c := range map[string]struct {
		signatures []string
		want       string
	}{
		"none":              {nil, "it has no signature"},
		"another's":         {[]string{sign(t, eve, digest)}, "is not among the trusted ones"},
		"of another bundle": {[]string{sign(t, alice, strings.Repeat("cd", 32))}, "is not of the bundle " + digest},
		"another namespace": {[]string{string(sshsig.Armor(other))}, `a signature for "file"; accepted: one made with`},
		"a weaker hash":     {[]string{string(sshsig.Armor(weak))}, "over a sha256 hash"},
		"text":              {[]string{"trust me"}, "not an SSH signature"},
		"cut off":           {[]string{good[:len(good)/2]}, "not an SSH signature"},
		"too long":          {[]string{strings.Repeat("x", MaxSize+1)}, "at most 16384"},
	} {
		_, err := trust(t, "alice "+a).Verify(digest, c.signatures, time.Now())
		if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), c.want) || !strings.HasSuffix(err.Error(), "accepted: one by alice") {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

func TestVerify_AKeyCountsWithinItsTime(t *testing.T) {
	alice, a := pair(t)
	s := []string{sign(t, alice, digest)}
	tr := trust(t, `alice valid-after="20260301Z",valid-before="202604011200Z" `+a)
	for day, want := range map[string]string{
		"2026-02-28T23:59:59Z": "counts from 2026-03-01T00:00:00Z on", "2026-03-01T00:00:00Z": "",
		"2026-04-01T11:59:59Z": "", "2026-04-01T12:00:00Z": "counted until 2026-04-01T12:00:00Z",
	} {
		now, err := time.Parse(time.RFC3339, day)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tr.Verify(digest, s, now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", day, err)
		}
	}
}

func TestParseTrust_SaysWhichLineIsWrong(t *testing.T) {
	_, a := pair(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(&short.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ text, want string }{
		"nothing":          {"# nobody\n", "no key in it"},
		"other namespaces": {`alice namespaces="git,file" ` + a, "no key in it"},
		"no key":           {"# x\nalice\n", "line 2: "},
		"no principal":     {`namespaces="git" ` + a, "stands where the principal"},
		"no principal ":    {`cert-authority ` + a, "stands where the principal"},
		"an authority":     {"alice cert-authority " + a, `option "cert-authority" is not known`},
		"no date":          {`alice valid-before="soon" ` + a, "want a date as YYYYMMDD"},
		"a short RSA key":  {"alice " + string(ssh.MarshalAuthorizedKey(key)), "2048 are the least"},
	} {
		if _, err := ParseTrust([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
	for what, text := range map[string]string{
		"a public key alone": a + " alice", "namespaces": `alice namespaces="git,lockkeeper-*" ` + a,
	} {
		if tr, err := ParseTrust([]byte(text)); err != nil || tr.Names()[0] != "alice" {
			t.Errorf("%s: %+v, %v", what, tr, err)
		}
	}
}

func TestSigner_NamesTheKeyOfAnIntactSignatureOnly(t *testing.T) {
	alice, _ := pair(t)
	s := sign(t, alice, digest)
	if got, err := Signer(digest, s); err != nil || got != ssh.FingerprintSHA256(alice.PublicKey()) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Signer(strings.Repeat("cd", 32), s); err == nil {
		t.Error("of another bundle: accepted")
	}
}

// TestSSHKeygen: operators sign with their own tools, and verify with them.
func TestSSHKeygen_SignsAndVerifiesTheSame(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip("needs ssh-keygen")
	}
	dir := t.TempDir()
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command("ssh-keygen", args...)
		cmd.Stdin = strings.NewReader(stdin)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ssh-keygen %s: %v: %s", strings.Join(args, " "), err, errs.String())
		}
		return string(out)
	}
	for _, kind := range [][]string{{"-t", "ed25519"}, {"-t", "ecdsa"}, {"-t", "rsa", "-b", "2048"}} {
		file := filepath.Join(dir, kind[1])
		run("", append([]string{"-q", "-N", "", "-C", "ops", "-f", file}, kind...)...)
		pub, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		theirs := run(digest+"\n", "-Y", "sign", "-n", Namespace, "-f", file)
		if name, err := trust(t, string(pub)).Verify(digest, []string{theirs}, time.Now()); err != nil || name != "ops" {
			t.Errorf("%s: %q, %v", kind[1], name, err)
		}
		private, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParsePrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		allowed, sig := filepath.Join(dir, "allowed"), filepath.Join(dir, "sig")
		for name, text := range map[string]string{allowed: "ops " + string(pub), sig: sign(t, key, digest)} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run(digest+"\n", "-Y", "verify", "-f", allowed, "-I", "ops", "-n", Namespace, "-s", sig)
	}
}
