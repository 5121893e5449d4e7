package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// oldestEtcd that is spoken to: before it, watches could lose events over a
// compaction (3.4 is out of support besides).
const oldestEtcd = "3.5"

// readStatus asks every endpoint for its figures, and one for the members. It
// fails when nobody answers.
func (e *External) readStatus(ctx context.Context) error {
	statuses, err := e.statuses(ctx)
	if err != nil {
		return err
	}
	// With a time of its own: one mute endpoint has used up that of all.
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	list, err := e.client.MemberList(ctx)
	if err != nil {
		return err
	}
	figures := api.StoreInfo{Quota: e.cfg.Quota}
	for _, s := range statuses {
		// The fullest member is the one that stops first.
		figures.DBSize, figures.DBInUse = max(figures.DBSize, s.DbSize), max(figures.DBInUse, s.DbSizeInUse)
		if s.DbSizeQuota > 0 {
			figures.Quota = s.DbSizeQuota
		}
		if figures.EtcdVersion == "" || older(s.Version, figures.EtcdVersion) {
			figures.EtcdVersion = s.Version
		}
		figures.NoSpace = figures.NoSpace || slices.ContainsFunc(s.Errors, func(text string) bool { return strings.Contains(text, "NOSPACE") })
	}
	members := make([]api.Member, 0, len(list.Members))
	for _, m := range list.Members {
		out := api.Member{ID: strconv.FormatUint(m.ID, 16), Name: m.Name, Role: "unknown", Started: m.Name != ""}
		if len(m.PeerURLs) > 0 {
			out.PeerURL = m.PeerURLs[0]
		}
		if len(m.ClientURLs) > 0 {
			out.URL = m.ClientURLs[0]
		}
		for _, s := range statuses {
			if s.Header.MemberId != m.ID {
				continue
			}
			out.Version, out.Reachable = s.Version, true
			out.DBSize, out.DBInUse, out.Applied = s.DbSize, s.DbSizeInUse, s.RaftAppliedIndex
			switch {
			case s.IsLearner:
				out.Role = "learner"
			case s.Leader == m.ID:
				out.Role = "leader"
			case s.Leader != 0:
				out.Role = "follower"
			}
		}
		members = append(members, out)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.figures, e.members = figures, members
	return nil
}

// statuses are those of the endpoints that answer; an error when none does.
func (e *External) statuses(ctx context.Context) ([]*clientv3.StatusResponse, error) {
	var (
		mu   sync.Mutex
		list []*clientv3.StatusResponse
		errs []error
		all  sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, endpoint := range e.cfg.Endpoints {
		all.Go(func() {
			s, err := e.client.Status(ctx, endpoint)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			list = append(list, s)
		})
	}
	all.Wait()
	if len(list) == 0 {
		return nil, errs[0]
	}
	return list, nil
}

func (e *External) checkVersions() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if older(e.figures.EtcdVersion, oldestEtcd) {
		return fmt.Errorf("etcd at %s is version %s: want %s or newer", e.names(), e.figures.EtcdVersion, oldestEtcd)
	}
	return nil
}

// older compares major and minor version.
func older(a, b string) bool {
	return slices.Compare(minor(a), minor(b)) < 0
}

func minor(version string) []int {
	var out []int
	for _, part := range strings.SplitN(version, ".", 3)[:min(2, strings.Count(version, ".")+1)] {
		n, err := strconv.Atoi(part)
		if err != nil {
			n = 0
		}
		out = append(out, n)
	}
	return out
}

func (e *External) monitorStatus(ctx context.Context) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := e.readStatus(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			e.log.Debug("the figures of etcd cannot be read", "error", err)
		}
	}
}

// Low implements Etcd, by the quota: NOSPACE stops every write of etcd itself.
func (e *External) Low() (grants, writes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	grants, writes = low(GrantFloor, e.figures.DBSize, e.figures.Quota)
	return grants || e.figures.NoSpace, writes || e.figures.NoSpace
}

// Info implements Etcd. Sizes are at most 10 s old.
func (e *External) Info() api.StoreInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.figures
	info.Revision = e.Revision()
	return info
}

// Revision implements Etcd: the highest that any answer had.
func (e *External) Revision() int64 { return e.revision.Load() }

// Members implements Etcd, as of at most 10 s ago.
func (e *External) Members() []api.Member {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.Clone(e.members)
	if !e.HasLeader() {
		for i := range list {
			list[i].Role = "unknown"
		}
	}
	return list
}
