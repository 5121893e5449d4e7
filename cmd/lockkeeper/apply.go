package main

import (
	"fmt"

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
members that it has, before anything is changed.

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
				for _, name := range sortedKeys(d.specs) {
					g, old, err := putGroup(cmd.Context(), c, name, "", try, func(*api.GroupSpec) (api.GroupSpec, error) {
						return d.specs[name], nil
					})
					if err != nil {
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
