package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// maxDiff is how large a file may be whose lines are compared, in bytes.
const maxDiff = 1 << 20

// bundleDiff is what differs between two bundles.
type bundleDiff struct {
	Old bundleID `json:"old"`
	New bundleID `json:"new"`
	// Manifest lists what differs beside the files.
	Manifest []memberDiff `json:"manifest,omitempty"`
	Files    []fileDiff   `json:"files,omitempty"`
}

type bundleID struct {
	Digest  string `json:"digest"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type memberDiff struct {
	Member string `json:"member"`
	Old    any    `json:"old,omitempty"`
	New    any    `json:"new,omitempty"`
}

type fileDiff struct {
	Path   string       `json:"path"`
	Change string       `json:"change"` // added, removed, content, or attributes alone
	Old    *bundle.File `json:"old,omitempty"`
	New    *bundle.File `json:"new,omitempty"`
	// Diff is a unified diff, "" for what is no text or too large.
	Diff string `json:"diff,omitempty"`
}

func (a *app) bundleDiffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what differs between two bundles, each a digest or a file",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.diffBundles(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(d, func() error { return a.printDiff(d) })
		},
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, _ := a.completeBundles(cmd, nil, word)
		return found, cobra.ShellCompDirectiveDefault
	}
	return c
}

func (a *app) diffBundles(ctx context.Context, from, to string) (d bundleDiff, err error) {
	dir, err := os.MkdirTemp("", "lockkeeper-")
	if err != nil {
		return d, err
	}
	defer os.RemoveAll(dir)
	x, err := a.readBundle(ctx, from, dir)
	if err != nil {
		return d, err
	}
	y, err := a.readBundle(ctx, to, dir)
	if err != nil {
		return d, err
	}
	d.Old, d.New = idOf(x), idOf(y)
	if d.Manifest, err = memberDiffs(x.Manifest, y.Manifest); err != nil {
		return d, err
	}
	d.Files, err = fileDiffs(x, y)
	return d, err
}

func idOf(b *bundle.Bundle) bundleID {
	return bundleID{Digest: b.Digest, Name: b.Manifest.Name, Version: b.Manifest.Version}
}

// memberDiffs compares two manifests beside their files, by the members of
// their JSON.
func memberDiffs(x, y bundle.Manifest) ([]memberDiff, error) {
	x.Files, y.Files = nil, nil
	a, err := asMap(x)
	if err != nil {
		return nil, err
	}
	b, err := asMap(y)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(a)
	maps.Copy(names, b)
	var out []memberDiff
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !reflect.DeepEqual(a[name], b[name]) {
			out = append(out, memberDiff{name, a[name], b[name]})
		}
	}
	return out, nil
}

func fileDiffs(x, y *bundle.Bundle) ([]fileDiff, error) {
	type pair struct{ old, new *bundle.File }
	pairs := map[string]pair{}
	for i := range x.Manifest.Files {
		f := &x.Manifest.Files[i]
		pairs[f.Path] = pair{old: f}
	}
	for i := range y.Manifest.Files {
		f := &y.Manifest.Files[i]
		pairs[f.Path] = pair{pairs[f.Path].old, f}
	}
	var out []fileDiff
	for _, path := range slices.Sorted(maps.Keys(pairs)) {
		p := pairs[path]
		d := fileDiff{Path: path, Old: p.old, New: p.new}
		switch {
		case p.old == nil:
			d.Change = "added"
		case p.new == nil:
			d.Change = "removed"
		case p.old.SHA256 != p.new.SHA256:
			d.Change = "content"
		case !reflect.DeepEqual(p.old, p.new):
			d.Change = "attributes"
		default:
			continue
		}
		if d.Change != "attributes" {
			var err error
			if d.Diff, err = textDiff(x, y, d); err != nil {
				return nil, err
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// textDiff is a unified diff of two files, "" where one of them is no text.
func textDiff(x, y *bundle.Bundle, d fileDiff) (string, error) {
	side := func(b *bundle.Bundle, f *bundle.File, name string) (string, []byte, error) {
		if f == nil {
			return "/dev/null", nil, nil
		}
		if f.Size > maxDiff {
			return "", []byte{0}, nil
		}
		text, err := b.Content(f.Path)
		return name + f.Path, text, err
	}
	from, old, err := side(x, d.Old, "old")
	if err != nil {
		return "", err
	}
	to, now, err := side(y, d.New, "new")
	if err != nil || !isText(old) || !isText(now) {
		return "", err
	}
	return string(diff.Diff(from, old, to, now)), nil
}

func isText(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }

func (a *app) printDiff(d bundleDiff) error {
	if d.Old.Digest == d.New.Digest {
		a.say("The two are one: %s", d.Old.Digest)
		return nil
	}
	for _, b := range []struct {
		word string
		id   bundleID
	}{{"old", d.Old}, {"new", d.New}} {
		fmt.Fprintf(a.out, "%s  %s  %s\n", b.word, b.id.Digest, cli.Cell(strings.TrimSpace(b.id.Name+" "+b.id.Version)))
	}
	for _, m := range d.Manifest {
		fmt.Fprintf(a.out, "%s: %s, was %s\n", m.Member, jsonText(m.New), jsonText(m.Old))
	}
	for _, f := range d.Files {
		fmt.Fprintf(a.out, "\n%s %s%s\n", fileChange(f.Change), cli.Cell(f.Path), attributeText(f))
		switch {
		case f.Diff != "":
			fmt.Fprint(a.out, visible(f.Diff))
		case f.Change != "attributes":
			fmt.Fprintln(a.out, "  no text, or too large to compare by lines")
		}
	}
	return nil
}

func fileChange(change string) string {
	switch change {
	case "added", "removed":
		return change
	}
	return "changed"
}

// attributeText says how a file's entry in the manifest differs, or what it is.
func attributeText(f fileDiff) string {
	all := func(x *bundle.File) []string {
		if x == nil {
			return []string{"", "", "", "", ""}
		}
		return []string{"mode " + x.Mode, "owner " + orDash(x.Owner), cli.Bytes(x.Size), "interrupt " + interruptText(*x), "rendered " + yesOrDash(x.Render)}
	}
	was, is := all(f.Old), all(f.New)
	var out []string
	for i := range was {
		switch {
		case was[i] == is[i]:
		case f.Old == nil:
			out = append(out, is[i])
		case f.New == nil:
			out = append(out, was[i])
		default:
			out = append(out, is[i]+", was "+strings.TrimPrefix(was[i], strings.SplitAfter(is[i], " ")[0]))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + visible(strings.Join(out, "; ")) + ")"
}

func jsonText(v any) string {
	if v == nil {
		return "nothing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return visible(string(text))
}

// visible keeps a file's content from steering the terminal that it is shown on.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
