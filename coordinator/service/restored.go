package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const attentionRestored = "restored"

// unheardNamed is how many nodes a refusal to lift the freeze names.
const unheardNamed = 20

// restoredFreeze is the last restore while its freeze is in force, else false:
// until somebody lifts it, what hosts show corrects what the snapshot says.
func (s *Service) restoredFreeze() (etcdstore.Identity, bool) {
	id := s.db.Identity()
	if id.RestoredFreeze == "" {
		return id, false
	}
	f := s.store.FleetFreeze()
	return id, f != nil && f.ID == id.RestoredFreeze
}

// reconcile brings the holds of before the last restore in line with what a
// node has just reported. A slot that it shows and the store lacks is taken in,
// while the restore's freeze is in force; one that the store has and the node
// says it has not was returned after the snapshot, and is returned again.
func (s *Service) reconcile(ctx context.Context, node string, session fleet.Session) {
	id := s.db.Identity()
	r := session.Report
	if id.FenceFloor == 0 {
		return
	}
	if r.Trouble != "" && r.Fence == 0 {
		return // its agent cannot read what it holds
	}
	// Only the newest report counts, however they arrive.
	if rec, known := s.fleet.Record(node); !known || rec.Report.Fence != r.Fence || rec.Report.Phase != r.Phase || rec.Instance != session.Instance {
		return
	}
	st, _ := s.store.Look(r.Group)
	h, holds := st.Hold(node)
	mine := holds && h.Via == semaphore.ViaAgent && h.Instance == session.Instance
	switch {
	case r.Fence == 0:
		// One that waits may be about to learn of a grant.
		if mine && !(r.Phase == api.PhaseWaiting && h.State == semaphore.Granted) {
			s.returned(ctx, r.Group, h, id)
		}
	case !mine || h.Fence < r.Fence || h.Fence == r.Fence && h.State == semaphore.Granted && pastGate(r.Phase):
		s.adopt(ctx, r.Group, semaphore.Adopt{
			Node: node, Instance: session.Instance, BootID: session.BootID, Fence: r.Fence, Confirmed: pastGate(r.Phase),
		})
	}
}

// pastGate reports whether a node in this phase has passed its first gate.
func pastGate(p api.Phase) bool {
	return p != api.PhaseIdle && p != api.PhaseWaiting && p != api.PhaseHolding
}

// adopt takes in a hold that a node shows, if there was a restore that may have
// lost it. Whether it did is known to the rules.
func (s *Service) adopt(ctx context.Context, group string, op semaphore.Adopt) {
	id, frozen := s.restoredFreeze()
	if !frozen {
		return
	}
	op.Freeze = id.RestoredFreeze
	a, err := s.store.Do(ctx, group, op)
	switch {
	case err != nil:
		s.logger.Warn("a hold that a node shows could not be adopted; it will show it again", "node", op.Node, "fence", op.Fence, "error", err)
	case a.Kind != semaphore.OK:
		s.logger.Warn("a hold that a node shows is not adopted", "node", op.Node, "group", group, "fence", op.Fence, "why", a.Detail)
	}
}

// returned gives back a hold of before the last restore whose owner has said
// that it has it no more.
func (s *Service) returned(ctx context.Context, group string, h semaphore.Hold, id etcdstore.Identity) {
	if h.Fence > id.FenceFloor {
		return
	}
	_, err := s.store.Do(ctx, group, semaphore.Release{Node: h.Node, Instance: h.Instance, Via: h.Via, Fence: h.Fence})
	if err != nil {
		s.logger.Warn("a hold that its node does not have any more could not be returned; the node will say so again", "node", h.Node, "fence", h.Fence, "error", err)
	}
}

// askedAnew returns what an agent held before the last restore when it asks for
// a slot by another request: it has given that back in the part that was lost,
// and must not take it for the new one.
func (s *Service) askedAnew(ctx context.Context, group string, op *semaphore.Acquire) {
	id := s.db.Identity()
	if id.FenceFloor == 0 {
		return
	}
	st, _ := s.store.Look(group)
	h, holds := st.Hold(op.Node)
	if holds && h.Via == semaphore.ViaAgent && h.Instance == op.Instance && h.Request != op.Request {
		s.returned(ctx, group, h, id)
	}
}

// showsAtGate adopts the hold with which a node stands at its gate, before its
// report has come.
func (s *Service) showsAtGate(ctx context.Context, group, node string, req api.ConfirmRequest) {
	id := s.db.Identity()
	if id.FenceFloor == 0 {
		return
	}
	st, _ := s.store.Look(group)
	if h, holds := st.Hold(node); holds && h.Fence >= req.Fence {
		return
	}
	s.adopt(ctx, group, semaphore.Adopt{Node: node, Instance: req.Instance, BootID: req.BootID, Fence: req.Fence})
}

// unheard are the nodes that were not heard since the restore, and the
// FleetLock hosts that hold: neither can have said which slots they have.
func (s *Service) unheard(id etcdstore.Identity) (silent, mute []string) {
	for _, n := range s.fleet.Nodes() {
		if !s.fleet.HeardSince(n.ID, id.Revision) {
			silent = append(silent, n.ID)
		}
	}
	for _, name := range s.store.Groups() {
		st, _ := s.store.View(name)
		for node, h := range st.Holds {
			if h.Via == semaphore.ViaFleetLock && !slices.Contains(silent, node) {
				mute = append(mute, node)
			}
		}
	}
	slices.Sort(mute)
	return silent, mute
}

// UnfreezeAccepting lifts the fleet's freeze of that id although so many nodes
// were not heard since a restore. For the freeze of a restore their number must
// not be above it; any other is lifted as by Unfreeze.
func (s *Service) UnfreezeAccepting(ctx context.Context, id string, unheard int) error {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	var v invalid
	requireText(&v, "id", id, 256)
	if unheard < 0 {
		v.add("accept_unheard", fmt.Sprintf("%d: want the number of nodes that were not heard, 0 or more", unheard))
	}
	if err := v.err(); err != nil {
		return err
	}
	if restore, frozen := s.restoredFreeze(); frozen && restore.RestoredFreeze == id {
		silent, mute := s.unheard(restore)
		if n := len(silent) + len(mute); n > unheard {
			return api.Errorf(api.Conflict, "the fleet is frozen since it was restored: %s. Look at each, then lift the freeze with --accept-unheard %d (accept_unheard=%d)",
				unheardText(silent, mute, unheardNamed), n, n)
		}
	}
	defer s.wrote()
	a, err := s.store.Unfreeze(ctx, id, p.Name)
	if err != nil {
		return s.problem(ctx, err)
	}
	return s.refusal(a)
}

// unheardText says who cannot be relied on, by at most so many names of each.
func unheardText(silent, mute []string, most int) string {
	var parts []string
	if len(silent) > 0 {
		parts = append(parts, fmt.Sprintf("%s not heard since (%s): whether it holds a slot is not known", countNodes(len(silent), "was", "were"), shorten(silent, most)))
	}
	if len(mute) > 0 {
		parts = append(parts, fmt.Sprintf("%s through FleetLock (%s): such a host cannot say whether it still does", countNodes(len(mute), "holds", "hold"), shorten(mute, most)))
	}
	return strings.Join(parts, "; ")
}

func countNodes(n int, one, more string) string {
	if n == 1 {
		return "1 node " + one
	}
	return fmt.Sprintf("%d nodes %s", n, more)
}

func shorten(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// afterRestore is the entry of a fleet that was restored and is frozen for it.
func (s *Service) afterRestore() []api.Attention {
	id, frozen := s.restoredFreeze()
	if !frozen {
		return nil
	}
	silent, mute := s.unheard(id)
	detail := "Every node was heard since. Look at the holds and the paused rollouts, then lift the freeze."
	if len(silent)+len(mute) > 0 {
		detail = sentenceOf(unheardText(silent, mute, namesShown)) + "Look at each before you lift the freeze."
	}
	return []api.Attention{{
		Kind: attentionRestored, Severity: bad, Since: id.RestoredAt,
		Title: "The store was restored, and the fleet is frozen", Detail: detail,
	}}
}

// snapshotTrouble is the entry of scheduled snapshots that fail.
func (s *Service) snapshotTrouble() []api.Attention {
	if s.cfg.Snapshots == nil {
		return nil
	}
	why := s.cfg.Snapshots.Snapshots().Failure
	if why == "" {
		return nil
	}
	return []api.Attention{{
		Kind: "snapshot_failed", Severity: warn, Title: "The last scheduled snapshot failed",
		Detail: sentenceOf(why) + "It is tried again every few minutes.",
	}}
}
