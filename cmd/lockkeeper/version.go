package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "The version of this program; \"status -o json\" has the coordinator's",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{cli.Version(), runtime.Version()}
			return a.print(v, func() error {
				_, err := fmt.Fprintf(a.out, "lockkeeper %s (%s)\n", v.Version, v.Go)
				return err
			})
		},
	}
}
