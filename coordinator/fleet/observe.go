package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Session is what came in with a poll.
type Session struct {
	Instance string
	BootID   string
	Report   api.Report
}

// Duplicate says why two hosts seem to go by one id.
type Duplicate struct{ Why string }

func (d *Duplicate) Error() string { return d.Why }

// savedTries bounds the tries to write a record that others write too.
const savedTries = 5

// Check is the part of Observe that needs no store: it notes that the node was
// heard, and returns a *Duplicate when another host goes by this id.
func (r *Registry) Check(id string, s Session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, found := r.nodes[id]
	if !found {
		return nil
	}
	now := r.cfg.Now()
	e.heard = now
	if why := conflict(&e.record, s, r.silence(e, now)); why != "" {
		return &Duplicate{Why: why}
	}
	return nil
}

// Touch notes that the host of the id's session is there still: its long poll
// has come to its end.
func (r *Registry) Touch(id string, s Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, found := r.nodes[id]
	if !found {
		return
	}
	e.heard = r.cfg.Now()
	if e.record.Instance == s.Instance && e.record.BootID == s.BootID {
		e.session = e.heard
		r.cfg.Presence.Hear(id, s.Instance)
	}
}

// Observe takes a poll's report in: it notes that the node was heard, and
// writes the report if it says something new. A report older than the last one
// of the same session is ignored. The error is a *Duplicate when another host
// goes by this id; then nothing of the report is kept.
func (r *Registry) Observe(ctx context.Context, id string, s Session) error {
	r.mu.Lock()
	e := r.entry(id)
	r.mu.Unlock()

	select {
	case e.saving <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-e.saving }()

	for range savedTries {
		rec, write, err := r.merge(e, s)
		if err != nil || !write {
			return err
		}
		revision, err := r.cfg.Store.PutNode(ctx, rec)
		if errors.Is(err, ErrChanged) {
			if err := r.refresh(ctx, e, id); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		rec.Revision = revision
		r.mu.Lock()
		e.take(rec)
		if r.nodes[id] != e { // forgotten meanwhile, and here again
			r.remove(id)
			kept := r.entry(id)
			kept.record, kept.heard, kept.session, kept.seq = e.record, e.heard, e.session, e.seq
		}
		r.bump()
		r.mu.Unlock()
		return nil
	}
	return fmt.Errorf("node %q: %w", id, ErrChanged)
}

// merge is the record after this poll, and whether it is worth writing.
func (r *Registry) merge(e *entry, s Session) (Record, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	e.heard = now
	rec := e.record
	first := rec.Revision == 0
	if why := conflict(&rec, s, r.silence(e, now)); why != "" {
		return Record{}, false, &Duplicate{Why: why}
	}
	same := rec.Instance == s.Instance && rec.BootID == s.BootID
	e.session = now
	r.cfg.Presence.Hear(rec.ID, s.Instance)
	if same && s.Report.Seq < e.seq {
		return Record{}, false, nil
	}
	e.seq = s.Report.Seq
	if same && !first && rec.Group == s.Report.Group && sameReport(rec.Report, s.Report) {
		return Record{}, false, nil
	}
	if rec.BootID != s.BootID {
		rec.OldBoots = supersede(rec.OldBoots, rec.BootID)
	}
	if first {
		rec.FirstSeen = now.UTC()
	}
	rec.Instance, rec.BootID, rec.Group, rec.Report = s.Instance, s.BootID, s.Report.Group, s.Report
	if rec.Order != nil && rec.Order.ID == s.Report.Answered {
		rec.Order = nil
	}
	rec.ChangedAt, rec.HeardAt = now.UTC(), now.UTC()
	return rec, true, nil
}

// conflict says why the session cannot be of the host that the record is of.
func conflict(rec *Record, s Session, silent time.Duration) string {
	switch {
	case rec.Instance == "":
		return ""
	case rec.Instance != s.Instance && silent < LiveFor:
		return fmt.Sprintf("two agents report as this node: instance %s was heard %s ago, and now instance %s asks",
			short(rec.Instance), silent.Round(time.Second), short(s.Instance))
	case rec.BootID != s.BootID && slices.Contains(rec.OldBoots, s.BootID):
		return fmt.Sprintf("boot %s was superseded by boot %s and is back: a clone of the host, or a snapshot of it, runs too",
			short(s.BootID), short(rec.BootID))
	}
	return ""
}

func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

// refresh reads the stored record again.
func (r *Registry) refresh(ctx context.Context, e *entry, id string) error {
	rec, found, err := r.cfg.Store.GetNode(ctx, id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !found {
		e.record = Record{ID: id}
		return nil
	}
	e.take(rec)
	return nil
}

// EndSession forgets which session the id belongs to, after a person made sure
// that one host only has it: the next to report is believed.
func (r *Registry) EndSession(ctx context.Context, id string) error {
	for range savedTries {
		rec, found, err := r.cfg.Store.GetNode(ctx, id)
		if err != nil || !found {
			return err
		}
		rec.Instance, rec.BootID, rec.OldBoots = "", "", nil
		revision, err := r.cfg.Store.PutNode(ctx, rec)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		rec.Revision = revision
		r.mu.Lock()
		r.entry(id).take(rec)
		r.bump()
		r.mu.Unlock()
		return nil
	}
	return fmt.Errorf("node %q: %w", id, ErrChanged)
}
