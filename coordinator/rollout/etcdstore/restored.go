package etcdstore

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// PauseAll pauses every rollout that goes on or waits, audited, and returns their ids. One
// that is halted stays so: it does not move by itself either, and says why. One
// of a newer schema is left to the program that knows it.
func PauseAll(ctx context.Context, client *clientv3.Client, prefix, by, reason string) ([]string, error) {
	s := New(Config{Client: client, Prefix: prefix})
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	defer s.Stop()
	all, err := s.ReadAll(ctx)
	if err != nil {
		return nil, err
	}
	var paused []string
	for id, st := range all.Rollouts {
		if !st.Head.State.Active() || st.Head.State == api.RolloutPaused || st.Head.State == api.RolloutHalted || st.Newer != "" {
			continue
		}
		d, refused := rollout.Apply(st, rollout.Ask{Action: rollout.ActPause, By: by, Reason: reason}, s.cfg.Now().UTC())
		if refused != nil {
			return paused, refused
		}
		err := s.Write(ctx, rollout.Change{Revision: st.Revision, Head: d.Head, Results: d.Results, Events: d.Events})
		if err != nil {
			return paused, fmt.Errorf("pause rollout %s: %w", id, err)
		}
		paused = append(paused, id)
	}
	slices.Sort(paused)
	return paused, nil
}
