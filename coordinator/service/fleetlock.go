package service

import (
	"context"
	"crypto/rand"
	"net"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// releaseWithin is how long a release of FleetLock is carried on after its
// client has gone.
const releaseWithin = 30 * time.Second

// FleetLockAcquire takes a slot for an id of the FleetLock protocol, or gives
// the hold that it has a new fence. A refusal by the rules is in the Answer;
// the error says what the service itself found wrong.
func (s *Service) FleetLockAcquire(ctx context.Context, group, id, peer string, wait time.Duration) (semaphore.Answer, error) {
	if err := s.checkFleetLock(ctx, group, id); err != nil {
		return semaphore.Answer{}, err
	}
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	// The fence found now is the one that this request may replace.
	st, err := s.store.Read(ctx, group)
	if err != nil {
		return semaphore.Answer{}, s.problem(ctx, err)
	}
	if !st.Exists() {
		if !s.cfg.AutoCreateGroups {
			return semaphore.Answer{}, s.unknownGroup(group)
		}
		if err := s.createEmpty(ctx, group, id); err != nil {
			return semaphore.Answer{}, s.problem(ctx, err)
		}
	}
	if err := s.elsewhere(id, group); err != nil {
		return semaphore.Answer{}, err
	}
	if _, reports := s.fleet.Record(id); !reports { // an agent says itself where its node belongs
		if err := s.leaveOthers(ctx, id, group, ""); err != nil {
			return semaphore.Answer{}, s.problem(ctx, err)
		}
	}
	if other := s.hearGuest(id, peer); other != "" {
		s.logger.Warn("two addresses ask under one FleetLock id", "node", id, "peer", peer, "other", other)
		if s.cfg.StrictAddress {
			return semaphore.Answer{}, api.Errorf(api.DuplicateID, "the id %q was used from %s within the last minute, and now from %s: two hosts must not share an id", id, other, peer)
		}
	}
	op := semaphore.Acquire{
		Node: id, Request: rand.Text(), Via: semaphore.ViaFleetLock, Peer: peer, Reason: "FleetLock",
		Register: true, StrictAddress: s.cfg.StrictAddress,
	}
	if h, holds := st.Hold(id); holds && h.Via == semaphore.ViaFleetLock {
		op.Bound = h.Fence
	}
	ctx, stop := s.whileQuorum(ctx)
	defer stop()
	var made int64 // fence of the hold that this very request made
	a, err := s.fresh(ctx, func() (semaphore.Answer, error) {
		a, err := s.store.Acquire(ctx, group, &op, wait)
		wait = 0
		if err == nil && a.Created {
			made = a.Hold.Fence
		}
		return a, err
	})
	if made != 0 && (err != nil || a.Kind != semaphore.OK) {
		// No 200 rests on it. Whoever asks again under this id gets a new one.
		// If another request gave it a new fence meanwhile, it is that one's.
		s.FleetLockGiveBack(group, id, made)
	}
	return a, err
}

// FleetLockRelease returns the slot that the id holds on arrival. It is carried
// through when its client goes, and is done when there is nothing to return.
func (s *Service) FleetLockRelease(ctx context.Context, group, id string) error {
	if err := s.checkFleetLock(ctx, group, id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	st, err := s.store.Read(ctx, group)
	if err != nil {
		return s.problem(ctx, err)
	}
	if !st.Exists() {
		return s.unknownGroup(group)
	}
	seen, _ := s.store.Look(group)
	if _, member := seen.Member(id); member { // others leave nothing behind, however many ask
		s.hearGuest(id, "")
	}
	h, holds := st.Hold(id)
	if !holds || h.Via != semaphore.ViaFleetLock {
		return nil
	}
	_, err = s.do(ctx, group, semaphore.Release{Node: id, Via: semaphore.ViaFleetLock, Fence: h.Fence})
	return err
}

// FleetLockGiveBack returns a hold that a request made whose client left before
// the first byte of its answer. Only a hold of that very fence is returned.
func (s *Service) FleetLockGiveBack(group, id string, fence int64) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	if _, err := s.do(ctx, group, semaphore.Release{Node: id, Via: semaphore.ViaFleetLock, Fence: fence}); err != nil {
		s.logger.Error("a slot whose client left could not be given back; it becomes overdue", "group", group, "node", id, "fence", fence, "error", err)
	}
}

func (s *Service) checkFleetLock(ctx context.Context, group, id string) error {
	if _, err := needNode(ctx, id); err != nil {
		return err
	}
	var v invalid
	v.check("client_params.group", semaphore.ValidGroup(group))
	v.check("client_params.id", semaphore.ValidNode(id))
	return v.err()
}

// elsewhere refuses an id that holds in another group.
func (s *Service) elsewhere(id, group string) error {
	for _, other := range s.store.Groups() {
		if other == group {
			continue
		}
		st, found := s.store.Look(other)
		if h, holds := st.Hold(id); found && holds {
			return api.Errorf(api.HeldByOther, "node %q holds a slot in group %q (fence %d): it must return that first", id, other, h.Fence)
		}
	}
	return nil
}
