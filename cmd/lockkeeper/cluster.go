package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) clusterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cluster",
		Short: "The coordinators and their store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			cl, err := c.Cluster(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cl, func() error { return a.printCluster(cl) })
		},
	}
}

func (a *app) printCluster(c api.Cluster) error {
	quorum := a.paint(green, "yes")
	if !c.Quorum {
		quorum = a.paint(red, "no: nothing is granted until a majority of the members is back")
	}
	kind, free := "external", ""
	if c.Store.Embedded {
		kind, free = "embedded", cli.Bytes(c.Store.DiskFree)
	}
	size := fmt.Sprintf("%s, %s in use", cli.Bytes(c.Store.DBSize), cli.Bytes(c.Store.DBInUse))
	if c.Store.Quota > 0 {
		size += " of " + cli.Bytes(c.Store.Quota)
	}
	err := a.facts(
		"Cluster", cli.Cell(c.ID),
		"Incarnation", strconv.FormatInt(c.Incarnation, 10),
		"Made", cli.Cell(ago(c.CreatedAt, a.now())),
		"Quorum", quorum,
		"Store", cli.Cell(fmt.Sprintf("etcd %s, %s, revision %d", c.Store.EtcdVersion, kind, c.Store.Revision)),
		"Size", size,
		"Disk free", free,
		"Answered by", cli.Cell(c.Served),
	)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, m := range c.Members {
		rows = append(rows, []string{cli.Cell(m.Name), cli.Cell(m.Role), cli.Cell(m.ID), orDash(m.URL), cli.Cell(m.Version)})
	}
	fmt.Fprintln(a.out)
	if err := a.printCoordinators(c.Coordinators); err != nil {
		return err
	}
	return a.table("No member is known.", []string{"MEMBER", "ROLE", "ID", "URL", "VERSION"}, rows)
}

// printCoordinators lists who serves the cluster.
func (a *app) printCoordinators(list []api.Coordinator) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(list))
	for _, c := range list {
		clock := "-"
		if c.ClockOffS != nil {
			clock = fmt.Sprintf("%+ds", int(math.Round(*c.ClockOffS)))
		}
		name := cli.Cell(c.Name)
		if c.Self {
			name += " (answers)"
		}
		rows = append(rows, []string{name, orDash(c.URL), ago(c.StartedAt, a.now()), clock, orDash(c.Version)})
	}
	if err := a.table("", []string{"COORDINATOR", "URL", "STARTED", "CLOCK", "VERSION"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return nil
}
