package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

func (a *app) bundleShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show BUNDLE|FILE",
		Short: "Show what a bundle does; BUNDLE is a digest, its beginning, NAME or NAME:VERSION",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isBundleFile(args[0]) {
				b, err := a.readBundle(cmd.Context(), args[0], "")
				if err != nil {
					return err
				}
				known := described(b)
				if known.Manifest, err = asMap(b.Manifest); err != nil {
					return err
				}
				return a.print(known, func() error { return a.printBundle(known, &b.Manifest) })
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			b, err := a.knownBundle(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.print(b, func() error {
				m, err := manifestOf(&b)
				if err != nil {
					return err
				}
				return a.printBundle(b, m)
			})
		},
	}
	c.ValidArgsFunction = a.completeBundles
	return c
}

func asMap(m bundle.Manifest) (out map[string]any, err error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(text, &out)
}

// manifestOf reads the manifest that a coordinator answers with.
func manifestOf(b *api.Bundle) (*bundle.Manifest, error) {
	text, err := json.Marshal(b.Manifest)
	if err != nil {
		return nil, err
	}
	m, err := bundle.ParseManifest(text)
	return &m, err
}

func (a *app) printBundle(b api.Bundle, m *bundle.Manifest) error {
	made, nodes := "", ""
	if !b.CreatedAt.IsZero() {
		made, nodes = ago(b.CreatedAt, a.now())+" by "+b.By, count(b.Nodes, "node", "nodes")
	}
	facts := []string{
		"Bundle", b.Digest,
		"Name", cli.Cell(m.Name),
		"Version", cli.Cell(m.Version),
		"Size", cli.Bytes(b.Size),
		"Lies at", cli.Cell(b.URL),
		"Interrupt", cli.Cell(b.Interrupt),
		"Requires", cli.Cell(requiresText(m.Requires)),
		"Check", cli.Cell(commandText(m.Check)),
		"Command", cli.Cell(commandText(m.Command)),
	}
	for _, p := range m.Health {
		facts = append(facts, "Health", cli.Cell(fmt.Sprintf("%s, within %s", p, p.Timeout)))
	}
	facts = append(facts,
		"Healthy for", fmt.Sprintf("%s, within %s", m.MinHealthyTime, m.HealthyDeadline),
		"In place on", nodes,
		"Made", cli.Cell(made),
	)
	for _, k := range b.SignedBy {
		facts = append(facts, "Signed by", cli.Cell(k))
	}
	if err := a.facts(facts...); err != nil {
		return err
	}
	var rows [][]string
	for _, f := range m.Files {
		rows = append(rows, []string{
			cli.Cell(f.Path), f.Mode, cli.Cell(orDash(f.Owner)), cli.Bytes(f.Size), cli.Cell(interruptText(f)), yesOrDash(f.Render),
		})
	}
	fmt.Fprintln(a.out)
	return a.table("It holds no files.", []string{"FILE", "MODE", "OWNER", "SIZE", "INTERRUPT", "RENDERED"}, rows)
}

func yesOrDash(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

func interruptText(f bundle.File) string {
	return strings.TrimSpace(string(f.Interrupt) + " " + strings.Join(f.Units, " "))
}

func commandText(c *bundle.Command) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s, within %s", c.Run, c.Timeout)
}

func requiresText(r *bundle.Requires) string {
	if r == nil {
		return ""
	}
	var all []string
	if len(r.Arch) > 0 {
		all = append(all, "arch "+strings.Join(r.Arch, " or "))
	}
	for what, values := range map[string]map[string][]string{"label ": r.Labels, "os-release ": r.OSRelease} {
		for _, k := range slices.Sorted(maps.Keys(values)) {
			all = append(all, what+k+" "+strings.Join(values[k], " or "))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
