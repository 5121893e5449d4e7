package main

import (
	"fmt"
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
		quorum = a.paint(red, "no: nothing is granted until a majority of the coordinators is back")
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
	return a.table("No member is known.", []string{"MEMBER", "ROLE", "ID", "URL", "VERSION"}, rows)
}
