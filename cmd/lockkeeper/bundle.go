package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/create"
)

func (a *app) bundleCommand() *cobra.Command {
	return noun("bundle", "Config updates, known by their digest",
		a.bundleCreateCommand(), a.bundleUploadCommand(), a.bundleListCommand(), a.bundleShowCommand(), a.bundleDiffCommand(),
		a.bundleSignCommand(), a.bundleKeygenCommand(), a.bundleDeleteCommand())
}

func (a *app) bundleCreateCommand() *cobra.Command {
	output, key := "", ""
	c := &cobra.Command{
		Use:   "create DIR",
		Short: "Build a bundle from a folder and upload it; prints its digest",
		Long: `Build a bundle from a folder and upload it; prints its digest.

The same content gives the same digest, so running it again is harmless. With
--output the bundle is written to a file instead, and no coordinator is asked;
it may be larger then than a coordinator stores (1 MiB), and "lockkeeper bundle
upload FILE --url URL" makes it known when it lies where agents can fetch it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" {
				if key != "" {
					return usagef("--key goes with an upload: want it with \"lockkeeper bundle upload\" or \"lockkeeper bundle sign\"")
				}
				return a.writeBundle(args[0], output)
			}
			text, _, err := buildBundle(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			digest := bundle.Digest(text)
			sign, err := a.signer(key)
			if err != nil {
				return err
			}
			b, err := a.upload(cmd.Context(), c, text, digest)
			if err != nil {
				return err
			}
			return a.signedBundle(cmd.Context(), c, b, sign)
		},
	}
	c.Flags().StringVar(&output, "output", "", "write the bundle to this file instead")
	signKeyFlag(c, &key)
	c.ValidArgsFunction = completeFolders
	return c
}

// writeBundle builds a bundle into a file, which is there as a whole or not at all.
func (a *app) writeBundle(dir, output string) error {
	if err := sourceFolder(dir); err != nil {
		return err
	}
	if st, err := os.Stat(output); err == nil && st.IsDir() {
		return usagef("--output %s: is a folder: want the name of a file", output)
	}
	f, err := renameio.NewPendingFile(output, renameio.WithPermissions(0o644))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return usagef("--output %s: its folder is not there, or takes no files: %w", output, err)
	}
	if err != nil {
		return err
	}
	defer f.Cleanup() //nolint:errcheck // it is only about a file that did not become one
	if _, err := create.Build(dir, f, bundle.MaxLinked); err != nil {
		return wrongSource(dir, err)
	}
	b, err := bundle.OpenFile(f.Name(), bundle.MaxLinked)
	if err != nil {
		return wrongSource(dir, err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return a.print(described(b), func() error {
		_, err := fmt.Fprintln(a.out, b.Digest)
		return err
	})
}

// described is what a coordinator would say of a bundle.
func described(b *bundle.Bundle) api.Bundle {
	m := &b.Manifest
	return api.Bundle{
		Digest: b.Digest, Name: m.Name, Version: m.Version, Size: b.Size, Interrupt: string(m.Greatest()), Files: m.APIFiles(),
	}
}

func sourceFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return usageError{err}
	case !info.IsDir():
		return usagef("%s: want a folder with the bundle's files", dir)
	}
	return nil
}

// wrongSource says which folder is wrong.
func wrongSource(dir string, err error) error {
	var refused *api.Error
	if errors.As(err, &refused) { // it names the file, and begins with the word
		return usagef("bundle %s: %s", dir, strings.TrimPrefix(refused.Detail, "bundle: "))
	}
	return usagef("bundle %s: %w", dir, err)
}

func buildBundle(dir string) ([]byte, bundle.Manifest, error) {
	if err := sourceFolder(dir); err != nil {
		return nil, bundle.Manifest{}, err
	}
	var text bytes.Buffer
	_, err := create.Build(dir, &text, bundle.MaxSize)
	if err != nil {
		return nil, bundle.Manifest{}, wrongSource(dir, err)
	}
	b, err := bundle.Parse(text.Bytes())
	if err != nil {
		return nil, bundle.Manifest{}, wrongSource(dir, err)
	}
	return text.Bytes(), b.Manifest, nil
}

func (a *app) upload(ctx context.Context, c coordinator, text []byte, digest string) (api.Bundle, error) {
	b, created, err := c.CreateBundle(ctx, bytes.NewReader(text), digest)
	if err != nil {
		return b, err
	}
	a.uploaded(b, created, "Uploaded")
	return b, nil
}

func (a *app) uploaded(b api.Bundle, created bool, what string) {
	if created {
		a.hint("%s bundle %s, %s, %s.", what, cli.Cell(b.Name), count(len(b.Files), "file", "files"), cli.Bytes(b.Size))
	} else {
		a.hint("Bundle %s was there already.", cli.Cell(b.Name))
	}
}

func (a *app) bundleUploadCommand() *cobra.Command {
	url, key := "", ""
	c := &cobra.Command{
		Use:   "upload FILE",
		Short: "Upload a bundle's file, or make one known that lies at a URL; prints its digest",
		Long: `Upload a bundle's file, or make one known that lies at a URL; prints its digest.

With --url the coordinator keeps URL, size, digest and manifest only, and agents
fetch the file from there: put it there before. Giving another URL later moves it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := bundle.OpenFile(args[0], bundle.MaxLinked)
			if err != nil {
				return wrongSource(args[0], err)
			}
			sign, err := a.signer(key)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			known, err := a.linkOrUpload(cmd.Context(), c, b, args[0], url)
			if err != nil {
				return err
			}
			return a.signedBundle(cmd.Context(), c, known, sign)
		},
	}
	c.Flags().StringVar(&url, "url", "", "where the file lies for agents: https://HOST/PATH")
	cli.NoEnv(c, "url")
	signKeyFlag(c, &key)
	return c
}

func (a *app) linkOrUpload(ctx context.Context, c coordinator, b *bundle.Bundle, file, url string) (api.Bundle, error) {
	if url == "" {
		if b.Size > bundle.MaxSize {
			return api.Bundle{}, usagef("bundle %s has %d bytes, and a coordinator stores %d at most: put it where agents can fetch it, and say where with --url", file, b.Size, bundle.MaxSize)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return api.Bundle{}, err
		}
		return a.upload(ctx, c, text, b.Digest)
	}
	link := api.BundleLink{URL: url, Size: b.Size}
	text, err := json.Marshal(b.Manifest)
	if err != nil {
		return api.Bundle{}, err
	}
	if err := json.Unmarshal(text, &link.Manifest); err != nil {
		return api.Bundle{}, err
	}
	known, created, err := c.LinkBundle(ctx, b.Digest, link)
	if err == nil {
		a.uploaded(known, created, "Made known")
	}
	return known, err
}

func (a *app) bundleListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the bundles, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			bundles, err := c.Bundles(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(bundles, func() error {
				var rows [][]string
				for _, b := range bundles {
					rows = append(rows, []string{
						short(b.Digest), cli.Cell(b.Name), cli.Cell(orDash(b.Version)), cli.Bytes(b.Size), orDash(b.Interrupt),
						signedText(b.SignedBy), strconv.Itoa(b.Nodes), cli.Age(b.CreatedAt, a.now()), cli.Cell(b.By),
					})
				}
				return a.table("There are no bundles.", []string{"BUNDLE", "NAME", "VERSION", "SIZE", "INTERRUPT", "SIGNED", "NODES", "AGE", "BY"}, rows)
			})
		},
	}
}

// signedText says by how many keys a bundle is signed; "bundle show" names them.
func signedText(by []string) string {
	if len(by) == 0 {
		return "-"
	}
	return count(len(by), "key", "keys")
}

func (a *app) bundleDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete BUNDLE",
		Short: "Delete a bundle that no rollout under way needs",
		Long: `Delete a bundle that no rollout under way needs. Hosts that have it keep it.
"bundle list" counts them in the column NODES: none of them can be brought back
to it from here any more.

A BUNDLE is a digest, its beginning, NAME or NAME:VERSION.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			digest, err := namedBundle(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteBundle(cmd.Context(), digest); err != nil {
				return err
			}
			a.say("bundle %s: deleted", digest)
			return nil
		},
	}
	c.ValidArgsFunction = a.completeBundles
	return c
}

var (
	wholeDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	partDigest  = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
)

// fullDigest completes the beginning of a digest by what the coordinator has.
func fullDigest(ctx context.Context, c coordinator, text string) (string, error) {
	text = strings.ToLower(strings.TrimPrefix(text, "sha256:"))
	switch {
	case wholeDigest.MatchString(text):
		return text, nil
	case !partDigest.MatchString(text):
		return "", usagef("bundle %q: want a digest of 64 hexadecimal digits, or its beginning (4 at least)", text)
	}
	bundles, err := c.Bundles(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, b := range bundles {
		if strings.HasPrefix(b.Digest, text) {
			found = append(found, b.Digest)
		}
	}
	switch len(found) {
	case 0:
		return "", notFoundf("no bundle's digest begins with %s; \"lockkeeper bundle list\" shows them", text)
	case 1:
		return found[0], nil
	}
	return "", usagef("%d bundles begin with %s: want more of the digest", len(found), text)
}
