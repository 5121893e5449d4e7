package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
		a.bundleCreateCommand(), a.bundleListCommand(), a.bundleShowCommand(), a.bundleDeleteCommand())
}

func (a *app) bundleCreateCommand() *cobra.Command {
	output := ""
	c := &cobra.Command{
		Use:   "create DIR",
		Short: "Build a bundle from a folder and upload it; prints its digest",
		Long: `Build a bundle from a folder and upload it; prints its digest.

The same content gives the same digest, so running it again is harmless. With
--output the bundle is written to a file instead, and no coordinator is asked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, m, err := buildBundle(args[0])
			if err != nil {
				return err
			}
			digest := bundle.Digest(text)
			if output != "" {
				if err := renameio.WriteFile(output, text, 0o644); err != nil {
					return err
				}
				b := api.Bundle{Digest: digest, Name: m.Name, Size: int64(len(text)), Interrupt: string(m.Greatest())}
				return a.print(b, func() error {
					_, err := fmt.Fprintln(a.out, digest)
					return err
				})
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			b, err := a.upload(cmd.Context(), c, text, digest)
			if err != nil {
				return err
			}
			return a.print(b, func() error {
				_, err := fmt.Fprintln(a.out, b.Digest)
				return err
			})
		},
	}
	c.Flags().StringVar(&output, "output", "", "write the bundle to this file instead")
	c.ValidArgsFunction = completeFolders
	return c
}

func buildBundle(dir string) ([]byte, bundle.Manifest, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, bundle.Manifest{}, usageError{err}
	} else if !info.IsDir() {
		return nil, bundle.Manifest{}, usagef("%s: want a folder with the bundle's files", dir)
	}
	var b bytes.Buffer
	m, err := create.Build(dir, &b, bundle.MaxSize)
	var refused *api.Error
	if errors.As(err, &refused) { // it names the file, and begins with the word
		return nil, m, usagef("bundle %s: %s", dir, strings.TrimPrefix(refused.Detail, "bundle: "))
	}
	if err != nil {
		return nil, m, usagef("bundle %s: %w", dir, err)
	}
	return b.Bytes(), m, nil
}

func (a *app) upload(ctx context.Context, c coordinator, text []byte, digest string) (api.Bundle, error) {
	b, created, err := c.CreateBundle(ctx, bytes.NewReader(text), digest)
	if err != nil {
		return b, err
	}
	if created {
		a.hint("Uploaded bundle %s, %s, %s.", cli.Cell(b.Name), count(len(b.Files), "file", "files"), cli.Bytes(b.Size))
	} else {
		a.hint("Bundle %s was there already.", cli.Cell(b.Name))
	}
	return b, nil
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
						short(b.Digest), cli.Cell(b.Name), cli.Bytes(b.Size), orDash(b.Interrupt),
						strconv.Itoa(b.Nodes), cli.Age(b.CreatedAt, a.now()), cli.Cell(b.By),
					})
				}
				return a.table("There are no bundles.", []string{"BUNDLE", "NAME", "SIZE", "INTERRUPT", "NODES", "AGE", "BY"}, rows)
			})
		},
	}
}

func (a *app) bundleShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show DIGEST",
		Short: "Show a bundle and its files; the beginning of the digest is enough",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			digest, err := fullDigest(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			b, err := c.Bundle(cmd.Context(), digest)
			if err != nil {
				return err
			}
			return a.print(b, func() error { return a.printBundle(b) })
		},
	}
	c.ValidArgsFunction = a.completeBundles
	return c
}

func (a *app) printBundle(b api.Bundle) error {
	err := a.facts(
		"Bundle", b.Digest,
		"Name", cli.Cell(b.Name),
		"Size", cli.Bytes(b.Size),
		"Interrupt", cli.Cell(b.Interrupt),
		"In place on", count(b.Nodes, "node", "nodes"),
		"Made", cli.Cell(ago(b.CreatedAt, a.now())+" by "+b.By),
	)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range b.Files {
		rows = append(rows, []string{cli.Cell(f.Path), cli.Cell(f.Mode), cli.Bytes(f.Size), orDash(f.Interrupt)})
	}
	fmt.Fprintln(a.out)
	return a.table("It holds no files.", []string{"FILE", "MODE", "SIZE", "INTERRUPT"}, rows)
}

func (a *app) bundleDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete DIGEST",
		Short: "Delete a bundle that no rollout or node uses",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			digest, err := fullDigest(cmd.Context(), c, args[0])
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
