package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) applyCommand() *cobra.Command {
	var file string
	var dryRun bool
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Bring groups to what a file declares",
		Long: `Bring groups to what a file declares.

What the file does not say of a group is its default; groups that it does not
name are left alone. The whole file is read, and each group is held against the
members that it has, before anything is changed. When the coordinators go away
between two groups, it says which are applied and which are not; running it again
is safe and does the rest.

  groups:
    web:
      slots: 2            # or a percentage of the members: 5%
      limits:
        - by: zone
          max: 1
      count_unreachable: true
      windows:            # hosts start only while one is open
        - weekdays: [mon-fri]
          start: "22:00"
          duration: 4h
          cutoff: 30m     # nothing starts in its last 30 minutes
          time_zone: Europe/Berlin
        - cron: 0 3 * * sun
          duration: 2h
      blackouts:
        - name: year-end
          start: 2026-12-20T00:00:00+01:00
          end: 2027-01-06T00:00:00+01:00
          reason: shop season
      grant_interval: 10m # between two starts, at least
      timeouts:
        hold: 30m
        fleetlock_hold: 1h

"lockkeeper group export" writes such a file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("want -f FILE, or -f - for the standard input")
			}
			d, err := a.readGroups(file)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			// The first round finds out what a coordinator would refuse in any of
			// the groups, so that none is changed then.
			result := []api.Group{}
			for _, try := range []bool{true, dryRun} {
				result = result[:0]
				names := sortedKeys(d.specs)
				for i, name := range names {
					g, old, err := putGroup(cmd.Context(), c, name, "", try, func(*api.GroupSpec) (api.GroupSpec, error) {
						return d.specs[name], nil
					})
					if err != nil {
						if !dryRun {
							a.hint("%s", appliedText(names, i, try, err))
						}
						return fmt.Errorf("%sgroup %s: %w", d.place(name, err), name, err)
					}
					if try == dryRun {
						a.say("%s", changeLine(name, old, g.Spec, dryRun))
					}
					result = append(result, g)
				}
				if dryRun {
					break
				}
			}
			return a.print(result, func() error { return nil })
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "YAML file, - for the standard input")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	cli.NoEnv(c, "file")
	return c
}

// appliedText says what has become of the groups of a file when the one at i
// ended it with an error, in the round that only tries or in the other.
func appliedText(names []string, i int, try bool, err error) string {
	if try || i == 0 && !mayHaveArrived(err) {
		return "Nothing was changed."
	}
	var list []string
	note := func(what string, names []string) {
		if len(names) > 0 {
			list = append(list, what+": "+strings.Join(names, ", "))
		}
	}
	note("Applied", names[:i])
	rest := names[i:]
	if mayHaveArrived(err) {
		note("Not known whether applied", rest[:1])
		rest = rest[1:]
	}
	note("Not applied", rest)
	return cli.Cell(strings.Join(list, ". ") + ". Running it again is safe: it changes only what is not yet as the file has it.")
}
