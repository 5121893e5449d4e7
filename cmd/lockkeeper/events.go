package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) eventsCommand() *cobra.Command {
	var q api.EventQuery
	since, follow := "", false
	c := &cobra.Command{
		Use:   "events",
		Short: "The audit trail: who changed what, and when",
		Long: `The audit trail: who changed what, and when. Oldest first.

Shows the newest events; with --after those behind a revision. With --follow it
goes on with each event as it happens, over restarts of a coordinator, without
a gap. "--follow -o json" writes one event a line.`,
		Example: `  lockkeeper events --since 1h --kind hold,freeze
  lockkeeper events --follow --group web`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.Limit < 1 || q.Limit > 10000 {
				return usagef("--limit %d: want 1 to 10000", q.Limit)
			}
			if q.After < 0 {
				return usagef("--after %d: want a revision", q.After)
			}
			var err error
			if q.From, err = a.since(since); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			q.Last = !cmd.Flags().Changed("after")
			list, err := c.Events(cmd.Context(), q)
			if err != nil {
				return err
			}
			if !follow {
				return a.print(list, func() error {
					return a.table("There are no events.", eventHeading, a.eventRows(list.Events))
				})
			}
			for _, e := range list.Events {
				if err := a.printEvent(e); err != nil {
					return err
				}
			}
			return a.followEvents(cmd.Context(), c, q, list.Next)
		},
	}
	flags := c.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with each event as it happens")
	flags.IntVar(&q.Limit, "limit", 50, "at most so many")
	flags.Int64Var(&q.After, "after", 0, "those behind this revision, oldest first, instead of the newest")
	flags.StringVar(&q.Group, "group", "", "only of this group")
	flags.StringVar(&q.Node, "node", "", "only of this node")
	flags.StringVar(&q.Rollout, "rollout", "", "only of this rollout (its whole id)")
	flags.StringVar(&q.Kind, "kind", "", "only of a kind, such as hold.granted, or hold for each kind of a hold; several with commas between them")
	flags.StringVar(&since, "since", "", "only those since this `TIME`, such as 2026-12-24T18:00:00Z, or of the last 2h")
	cli.NoEnv(c, "after", "since", "rollout", "kind")
	complete(c, "group", a.completeGroups)
	complete(c, "node", a.completeNodes)
	completeKinds(c)
	c.AddCommand(a.eventsExportCommand())
	return c
}

// followEvents goes on behind a revision. A stream that is lost is taken up
// where it ended.
func (a *app) followEvents(ctx context.Context, c coordinator, q api.EventQuery, after int64) error {
	p := a.patience(a.tryingAgain)
	var seen resume
	for {
		events, err := c.WatchEvents(ctx, seen.after(after))
		if err == nil {
			p.answer()
			for e := range events {
				if !seen.fresh(e) {
					continue
				}
				if !asked(q, e) {
					continue
				}
				if err := a.printEvent(e); err != nil {
					return err
				}
			}
		}
		if err := p.pause(ctx, err); err != nil {
			return err
		}
	}
}

// since reads a moment, or how long ago it was; the zero time for "".
func (a *app) since(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return a.now().Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("--since %q: want a time such as 2026-12-24T18:00:00Z, or a duration such as 2h", text)
	}
	return at, nil
}

// asked reports whether an event of the stream is one that was asked for.
func asked(q api.EventQuery, e api.Event) bool {
	kind := q.Kind == "" || slices.ContainsFunc(strings.Split(q.Kind, ","), func(k string) bool {
		return e.Kind == k || strings.HasPrefix(e.Kind, k+".")
	})
	return kind && (q.Group == "" || e.Group == q.Group) && (q.Node == "" || e.Node == q.Node) && (q.Rollout == "" || e.Rollout == q.Rollout)
}

// resume remembers the events of the last revision that was seen. One revision
// may hold several, and a stream can end between them: it is then taken up in
// front of that revision, and what was seen of it is left out.
type resume struct {
	revision int64
	events   map[string]bool
}

// after is the revision to ask behind; start is where it all began.
func (r *resume) after(start int64) int64 { return max(start, r.revision-1) }

// fresh reports whether the event is new, and remembers it.
func (r *resume) fresh(e api.Event) bool {
	key := e.Scope + " " + strconv.FormatInt(e.Seq, 10)
	if e.Revision < r.revision || e.Revision == r.revision && r.events[key] {
		return false
	}
	if e.Revision > r.revision {
		r.revision, r.events = e.Revision, map[string]bool{}
	}
	r.events[key] = true
	return true
}

var eventHeading = []string{"REVISION", "TIME", "EVENT", "BY", "WHERE", "HELD", "DETAIL"}

func (a *app) eventRows(events []api.Event) [][]string {
	var rows [][]string
	for _, e := range events {
		held := "-"
		if e.Group != "" {
			held = fmt.Sprintf("%d/%d", e.Held, e.Slots)
		}
		rows = append(rows, []string{
			strconv.FormatInt(e.Revision, 10), e.At.Local().Format(time.DateTime), cli.Cell(e.Kind),
			orDash(e.Actor), orDash(eventPlace(e)), held, cli.Cell(e.Detail),
		})
	}
	return rows
}

func eventPlace(e api.Event) string {
	place := e.Group
	if e.Node != "" {
		if place != "" {
			place += "/"
		}
		place += e.Node
	}
	if place == "" {
		return e.Rollout
	}
	return place
}

// printEvent writes one event as it comes, when later columns are not known.
func (a *app) printEvent(e api.Event) error {
	switch a.format {
	case formatJSON:
		return json.NewEncoder(a.out).Encode(e)
	case formatYAML:
		text, err := yamlOf(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "---\n%s", text)
		return err
	}
	row := a.eventRows([]api.Event{e})[0]
	_, err := fmt.Fprintf(a.out, "%s  %s  %s  by %s  %s  %s\n", row[0], row[1], row[2], row[3], row[4], row[6])
	return err
}
