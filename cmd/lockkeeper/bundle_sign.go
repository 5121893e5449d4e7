package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
)

func signKeyFlag(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "key", "", "sign with this SSH key's file; the file of a public key (.pub) signs with the key that an SSH agent has")
	cli.NoEnv(c, "key")
}

func (a *app) bundleSignCommand() *cobra.Command {
	key, made, only := "", "", false
	c := &cobra.Command{
		Use:   "sign BUNDLE|FILE",
		Short: "Sign a bundle with an SSH key, or add a signature made elsewhere",
		Long: `Sign a bundle with an SSH key, or add a signature made elsewhere.

What is signed is the digest as "lockkeeper bundle create" prints it, so that
ssh-keygen can do it too, with any key, agent or hardware token:

  echo DIGEST | ssh-keygen -Y sign -n ` + signature.Namespace + ` -f KEY > motd.sig
  lockkeeper bundle sign DIGEST --signature motd.sig

With --print the signature is printed, and no coordinator is asked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (key == "") == (made == "") {
				return usagef("want --key with an SSH key's file, or --signature with a signature's")
			}
			return a.signBundle(cmd.Context(), args[0], key, made, only)
		},
	}
	signKeyFlag(c, &key)
	c.Flags().StringVar(&made, "signature", "", "add the signature in this file, - for the standard input")
	c.Flags().BoolVar(&only, "print", false, "print the signature instead")
	cli.NoEnv(c, "signature", "print")
	c.ValidArgsFunction = a.completeBundles
	return c
}

func (a *app) signBundle(ctx context.Context, word, key, made string, only bool) error {
	digest := word
	if isBundleFile(word) {
		b, err := a.readBundle(ctx, word, "")
		if err != nil {
			return err
		}
		digest = b.Digest
	}
	text, err := a.signatureText(made)
	if err != nil {
		return err
	}
	sign, err := a.signer(key)
	if err != nil {
		return err
	}
	if only {
		if sign == nil || !wholeDigest.MatchString(digest) {
			return usagef("--print: want --key, and a whole digest or a bundle's file")
		}
		text, err := signature.Sign(digest, sign)
		if err == nil {
			_, err = fmt.Fprint(a.out, text)
		}
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if digest, err = namedBundle(ctx, c, digest); err != nil {
		return err
	}
	if sign == nil {
		return a.addSignature(ctx, c, digest, text)
	}
	return a.signedBundle(ctx, c, api.Bundle{Digest: digest}, sign)
}

func (a *app) signatureText(file string) (string, error) {
	var text []byte
	var err error
	switch file {
	case "":
		return "", nil
	case "-":
		text, err = io.ReadAll(io.LimitReader(os.Stdin, signature.MaxSize+1))
	default:
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", usageError{err}
	}
	return string(text), nil
}

// signedBundle signs a bundle if there is a key for that, and prints it.
func (a *app) signedBundle(ctx context.Context, c coordinator, b api.Bundle, sign ssh.Signer) error {
	if sign != nil {
		text, err := signature.Sign(b.Digest, sign)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		return a.addSignature(ctx, c, b.Digest, text)
	}
	return a.print(b, func() error {
		_, err := fmt.Fprintln(a.out, b.Digest)
		return err
	})
}

func (a *app) addSignature(ctx context.Context, c coordinator, digest, text string) error {
	by, err := signature.Signer(digest, text)
	if err != nil {
		return usagef("signature: %w", err)
	}
	b, err := c.SignBundle(ctx, digest, api.BundleSignature{Signature: text})
	if err != nil {
		return err
	}
	a.hint("Bundle %s is signed by %s.", cli.Cell(b.Name), by)
	return a.print(b, func() error {
		_, err := fmt.Fprintln(a.out, b.Digest)
		return err
	})
}

// signer reads a private key, or finds in the SSH agent that of a public one.
// No key is nil.
func (a *app) signer(file string) (ssh.Signer, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{err}
	}
	if block, _ := pem.Decode(text); block == nil {
		public, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, usagef("--key %s: want an SSH private key, or the file of a public one that an SSH agent has the private key of", file)
		}
		return agentSigner(file, public)
	}
	key, err := ssh.ParsePrivateKey(text)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return nil, usagef("--key %s: it has a passphrase, and there is no terminal to ask for it: give it to an SSH agent, and name the .pub file", file)
		}
		a.hint("Passphrase of %s:", file)
		word, err := term.ReadPassword(int(os.Stdin.Fd()))
		if err != nil {
			return nil, err
		}
		key, err = ssh.ParsePrivateKeyWithPassphrase(text, word)
		if err != nil {
			return nil, usagef("--key %s: %w", file, err)
		}
		return key, nil
	}
	if err != nil {
		return nil, usagef("--key %s: %w", file, err)
	}
	return key, nil
}

// agentSigner is the key as the SSH agent has it. Its connection is open until
// the program ends, which is soon.
func agentSigner(file string, public ssh.PublicKey) (ssh.Signer, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, usagef("--key %s is a public key, and no SSH agent is named in SSH_AUTH_SOCK: want a private key, or an agent", file)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("the SSH agent: %w", err)
	}
	keys, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("the SSH agent: %w", err)
	}
	for _, k := range keys {
		if ssh.FingerprintSHA256(k.PublicKey()) == ssh.FingerprintSHA256(public) {
			return k, nil
		}
	}
	return nil, usagef("--key %s: the SSH agent does not have the private key %s", file, ssh.FingerprintSHA256(public))
}

func (a *app) bundleKeygenCommand() *cobra.Command {
	name := ""
	c := &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key to sign bundles with, as ssh-keygen would; prints the line for agents",
		Long: `Make an Ed25519 key to sign bundles with: FILE, which nobody else may read, and
FILE.pub. It has no passphrase: keep it where only your pipeline reads it, or
take "ssh-keygen -t ed25519", or a key that you have.

The line that is printed is for the file that "lockkeeper-agent run
--trusted-keys" names on each host.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := args[0]
			if name == "" {
				name = filepath.Base(file)
			}
			if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '"' || r == '#' || r == ',' }) {
				return usagef("--name %q: want a word for the key, such as release@example.com", name)
			}
			public, err := makeKey(file, name)
			if err != nil {
				return err
			}
			a.hint("The private key is %s; keep it to yourself. For the file of --trusted-keys:", file)
			line := fmt.Sprintf("%s namespaces=%q %s", name, signature.Namespace, public)
			_, err = fmt.Fprintln(a.out, line)
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "what the key is called (default: the file's name)")
	cli.NoEnv(c, "name")
	return c
}

// makeKey writes a new key pair and returns the public key as a line. A file
// that is there is not overwritten.
func makeKey(file, name string) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{file, pem.EncodeToMemory(block), 0o600}, {file + ".pub", []byte(line + " " + name + "\n"), 0o644}} {
		if err := writeNew(f.name, f.text, f.mode); err != nil {
			return "", err
		}
	}
	return line, nil
}

func writeNew(name string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
