package agent

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// readAgainEvery is the pause between two looks at a journal that cannot be
	// believed: a person may have put it right, or a newer agent taken over.
	readAgainEvery = 5 * time.Second
	// keptWithoutJournal is how long a slot is kept for which nothing was done
	// yet, while the journal cannot be written. It is less than the 30 s after
	// which an unconfirmed grant costs the place in the queue.
	keptWithoutJournal = 20 * time.Second
)

// unbelievable reports a journal that is there and says nothing that may be
// acted on.
func unbelievable(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) }

// believeNothing says through the polls that the journal cannot be believed,
// until it can be: the host stays as it is, and keeps the slot that it may have.
func (a *Agent) believeNothing(ctx context.Context, err error) error {
	for {
		a.setTrouble(err.Error())
		select {
		case <-time.After(readAgainEvery):
		case <-ctx.Done():
			return nil
		}
		if err = a.load(); err == nil || !unbelievable(err) {
			return err
		}
	}
}

// setTrouble tells of a reason why nothing can be done, once.
func (a *Agent) setTrouble(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trouble == text {
		return
	}
	a.trouble, a.message = text, text
	a.log.Error("nothing is done until this is mended", "trouble", text)
	if a.resend != nil {
		a.resend()
	}
}

// save makes a state durable. A job begins only while there is room for its end.
func (a *Agent) save(next State) error {
	if begins := a.state.Phase == api.PhaseIdle && next.Phase != api.PhaseIdle; begins {
		if err := a.dir.reserve(); err != nil {
			return fmt.Errorf("journal: room for the whole job: %w", err)
		}
	}
	return a.dir.saveState(next)
}

// cannotRecord waits for the disk to take the journal again. What was decided is
// not begun. A slot with which nothing was done goes back meanwhile, so that
// others may go; any other is kept.
func (a *Agent) cannotRecord(ctx context.Context, err error) {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno // without the names of temporary files, which differ each time
	}
	a.setTrouble(fmt.Sprintf("the state folder %s takes nothing: %v", a.dir.dir, err))
	a.unsaved = true // nothing more is done before it can be
	if a.unable == 0 {
		a.unable = max(1, a.cfg.Host.Clock())
	}
	if a.cfg.Host.Clock()-a.unable >= keptWithoutJournal {
		a.giveBack(ctx)
	}
	a.rest(DoRecord, 0, 30*time.Second)
	a.wait(ctx, a.pauses[DoRecord].left())
}

// giveBack returns the slot, and the service, of a job that has changed nothing.
// The journal learns of it later: it finds its slot gone.
func (a *Agent) giveBack(ctx context.Context) {
	s := &a.state
	fence := s.Fence
	switch {
	case s.Sick != nil:
		return // out of service whatever becomes of the job
	case s.Phase == api.PhaseWaiting && a.last.Do == DoAcquire:
		fence = a.last.Fence
	case s.Phase != api.PhaseHolding && s.Phase != api.PhaseDraining:
		return
	}
	if fence == 0 || a.gate.Fence == fence && a.gate.Answer == GateGone {
		return
	}
	if s.Drain != DrainNone {
		if err := a.cfg.Host.Undrain(ctx, a.ofJob().env(s)); err != nil {
			a.log.Warn("back into service", "err", err)
			return
		}
	}
	if err := a.cfg.Coordinator.Release(ctx, s.Group, a.cfg.Node, fence, a.instance); err != nil {
		a.log.Warn("returning the slot", "fence", fence, "err", err)
		return
	}
	a.log.Info("returned the slot: the journal cannot be written", "fence", fence)
	a.last = Outcome{}
	a.gate = Gate{Fence: fence, Answer: GateGone, Detail: "it was returned while the journal could not be written"}
}
