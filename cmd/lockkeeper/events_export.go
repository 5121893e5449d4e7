package main

import (
	"bufio"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// exportPage is how many events are asked for at once.
const exportPage = 1000

func (a *app) eventsExportCommand() *cobra.Command {
	var q api.EventQuery
	var since, until, zone string
	c := &cobra.Command{
		Use:   "export",
		Short: "The whole audit trail as JSON, one event a line",
		Long: `The whole audit trail as JSON, one event a line, oldest first: what happened,
when, by whom, why, and what was before and after. Each event is there once,
whatever is written meanwhile; it ends with what was there when it began.

The last line's revision is the --after of the next export, which goes on
without a gap. A coordinator that goes away on the way is waited for.`,
		Example: `  lockkeeper events export > trail.jsonl
  lockkeeper events export --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z
  lockkeeper events export --after "$(tail -1 trail.jsonl | jq .revision)" >> trail.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.After < 0 {
				return usagef("--after %d: want a revision", q.After)
			}
			var err error
			if since != "" {
				if q.From, err = parseMoment("--since", since, zone); err != nil {
					return err
				}
			}
			if until != "" {
				if q.Until, err = parseMoment("--until", until, zone); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.exportEvents(cmd, c, q)
		},
	}
	flags := c.Flags()
	flags.Int64Var(&q.After, "after", 0, "only those behind this revision")
	flags.StringVar(&since, "since", "", "only those since this `TIME`, such as 2026-12-24T18:00:00Z")
	flags.StringVar(&until, "until", "", "only those before this `TIME`")
	flags.StringVar(&zone, "time-zone", "", "of times without their offset, such as Europe/Berlin")
	flags.StringVar(&q.Group, "group", "", "only of this group")
	flags.StringVar(&q.Node, "node", "", "only of this node")
	flags.StringVar(&q.Rollout, "rollout", "", "only of this rollout (its whole id)")
	flags.StringVar(&q.Kind, "kind", "", "only of a kind, such as hold.granted, or hold for each kind of a hold; several with commas between them")
	cli.NoEnv(c, "after", "since", "until", "group", "node", "rollout", "kind")
	complete(c, "group", a.completeGroups)
	complete(c, "node", a.completeNodes)
	completeKinds(c)
	return c
}

// exportEvents pages to the end. A page ends with a whole revision, and the next
// begins behind it, so none is lost or there twice.
func (a *app) exportEvents(cmd *cobra.Command, c coordinator, q api.EventQuery) error {
	ctx := cmd.Context()
	q.Limit = exportPage
	out := bufio.NewWriter(a.out)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	p := a.patience(a.tryingAgain)
	end := int64(-1) // revision of the newest event when this began; -1: not known yet
	for {
		ask := q
		if end < 0 {
			ask = api.EventQuery{Last: true, Limit: 1}
		}
		list, err := c.Events(ctx, ask)
		if err != nil || ctx.Err() != nil {
			if err := p.pause(ctx, err); err != nil {
				return err
			}
			continue
		}
		p.answer()
		if end < 0 {
			end = list.Next
			continue
		}
		for i := range list.Events {
			if err := lines.Encode(&list.Events[i]); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if list.Next <= q.After || list.Next >= end {
			return nil
		}
		q.After = list.Next
	}
}
