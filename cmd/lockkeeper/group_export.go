package main

import (
	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) groupExportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export [GROUP]...",
		Short: "Write groups as a file for \"lockkeeper apply\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var groups []api.Group
			if len(args) == 0 {
				if groups, err = c.Groups(cmd.Context()); err != nil {
					return err
				}
			}
			for _, name := range args {
				g, err := c.Group(cmd.Context(), name)
				if err != nil {
					return err
				}
				groups = append(groups, g)
			}
			text, err := exportGroups(groups)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.ValidArgsFunction = a.completeGroups
	return c
}

// exportGroups writes what parseGroups reads.
func exportGroups(groups []api.Group) ([]byte, error) {
	f := groupsFile{Groups: map[string]groupSpec{}}
	for _, g := range groups {
		f.Groups[g.Name] = groupSpecOf(g.Spec)
	}
	return yaml.Marshal(f)
}
