package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) clusterCommand() *cobra.Command {
	c := noun("cluster", "The coordinators and their store", a.clusterStatus(),
		a.clusterToken(), a.clusterPromote(), a.clusterRemove(), a.clusterReplace(), a.clusterMoveLeader(), a.clusterRotateCA())
	c.RunE = a.showCluster
	return c
}

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "The members and the coordinators, as the one that answers sees them",
		Args:  cobra.NoArgs,
		RunE:  a.showCluster,
	}
}

func (a *app) showCluster(cmd *cobra.Command, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	cl, err := c.Cluster(cmd.Context())
	if err != nil {
		return err
	}
	return a.print(cl, func() error { return a.printCluster(cl) })
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
		"Schema", schemaText(c),
		"Size", size,
		"Disk free", free,
		"Answered by", cli.Cell(c.Served),
	)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, m := range c.Members {
		rows = append(rows, []string{memberCell(m), cli.Cell(m.Role), cli.Cell(m.ID), memberState(m), memberSize(m), memberStarted(m, a.now()), orDash(m.PeerURL), orDash(m.URL), orDash(m.Version)})
	}
	fmt.Fprintln(a.out)
	if err := a.printCoordinators(c.Coordinators); err != nil {
		return err
	}
	if err := a.table("No member is known.", []string{"MEMBER", "ROLE", "ID", "STATE", "SIZE", "STARTED", "PEER URL", "URL", "VERSION"}, rows); err != nil {
		return err
	}
	if len(c.Warnings) > 0 {
		fmt.Fprintln(a.out)
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(a.out, a.paint(yellow, "Note:"), cli.Cell(w)+".")
	}
	return nil
}

// schemaText is what is written to the store, and which coordinators keep it
// from what is newer.
func schemaText(c api.Cluster) string {
	text, highest := strconv.Itoa(c.Schema), c.Schema
	for _, p := range c.Coordinators {
		highest = max(highest, p.MaxV)
	}
	var behind []string
	for _, p := range c.Coordinators {
		if p.MaxV < highest {
			behind = append(behind, fmt.Sprintf("%s (up to %d)", cli.Cell(p.Name), p.MaxV))
		}
	}
	if len(behind) > 0 {
		text += fmt.Sprintf("; to be updated: %s", strings.Join(behind, ", "))
	}
	return text
}

func memberCell(m api.Member) string {
	name := orDash(m.Name)
	if m.Self {
		name += " (answers)"
	}
	return name
}

// memberState says whether the member is there.
func memberState(m api.Member) string {
	switch {
	case !m.Started:
		return "never ran"
	case !m.Reachable && m.Unreachable == "":
		return "not asked"
	case !m.Reachable:
		return cli.Cell("unreachable: " + m.Unreachable)
	}
	return "up"
}

func memberSize(m api.Member) string {
	if m.DBSize == 0 {
		return "-"
	}
	return cli.Bytes(m.DBSize)
}

func memberStarted(m api.Member, now time.Time) string {
	if m.StartedAt.IsZero() {
		return "-"
	}
	return ago(m.StartedAt, now)
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
