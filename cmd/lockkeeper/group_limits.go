package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// limitsFit finds out beforehand what the coordinator would refuse in a spec by
// the members that a group has: a new limit on a label that none of them has, or
// by what is no label's name. It returns the same error.
func limitsFit(ctx context.Context, c coordinator, group string, old *api.GroupSpec, spec api.GroupSpec) error {
	by := func(label string) func(api.Limit) bool { return func(l api.Limit) bool { return l.By == label } }
	added := slices.DeleteFunc(slices.Clone(spec.Limits), func(l api.Limit) bool {
		return old != nil && slices.ContainsFunc(old.Limits, by(l.By))
	})
	if len(added) == 0 {
		return nil
	}
	labels, members := map[string]bool{}, 0
	for q := (api.NodeQuery{Group: group, Limit: 1000}); ; {
		list, err := c.Nodes(ctx, q)
		if err != nil {
			return err
		}
		members += len(list.Nodes)
		for i := range list.Nodes {
			for label := range list.Nodes[i].Labels {
				labels[label] = true
			}
		}
		if q.After = list.Next; q.After == "" {
			break
		}
	}
	for i, l := range spec.Limits {
		path := fmt.Sprintf("limits[%d].by", i)
		refused := func(detail string) error {
			return &api.Error{Kind: api.Invalid, Detail: path + ": " + detail, Fields: []api.FieldError{{Path: path, Detail: detail}}}
		}
		if labels[l.By] || !slices.ContainsFunc(added, by(l.By)) {
			continue
		}
		if err := semaphore.ValidLabel(l.By); err != nil {
			return refused(err.Error())
		}
		if members == 0 {
			continue
		}
		have := "they have no labels"
		if len(labels) > 0 {
			have = "they have " + strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
		}
		return refused(fmt.Sprintf("none of the %d members has the label %q; %s", members, l.By, have))
	}
	return nil
}
