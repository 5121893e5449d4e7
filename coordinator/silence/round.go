package silence

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/ask"
)

// round brings the Alertmanager's silences to what they should be, and tells of
// what failed. Its error is that the Alertmanager is of no use now.
func (s *Silencer) round(ctx context.Context) error {
	now := s.cfg.Now()
	wanted := s.wanted(now)
	if s.known != nil && now.Sub(s.listed) < relist && !s.work(wanted, now) {
		return nil
	}
	err := s.reconcile(ctx, wanted)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.known = nil // what became of the last request is not known
	}
	s.tell(cmp.Or(err, s.anyRefusal()))
	s.metrics.active.Set(float64(len(s.known)))
	return err
}

// anyRefusal is why one of the silences cannot be made.
func (s *Silencer) anyRefusal() error {
	for _, k := range sorted(s.refused) {
		return s.refused[k].err
	}
	return nil
}

// work reports whether there is anything to ask for.
func (s *Silencer) work(wanted map[key]want, now time.Time) bool {
	for k, w := range wanted {
		if s.due(k, w, now) {
			return true
		}
	}
	for k, have := range s.known {
		if _, ok := wanted[k]; !ok && !s.ending[k] || !have.EndsAt.After(now) {
			return true
		}
	}
	for k := range s.refused {
		if _, ok := wanted[k]; !ok {
			return true
		}
	}
	return false
}

// due reports whether a silence is to be made or renewed: when half of it is over.
// One that goes as far as it may is not renewed.
func (s *Silencer) due(k key, w want, now time.Time) bool {
	if r, ok := s.refused[k]; ok && now.Sub(r.at) < again {
		return false
	}
	have, ok := s.known[k]
	if !ok || s.ending[k] {
		return true
	}
	until := w.until(now, s.cfg.For)
	return have.EndsAt.Sub(now) < s.cfg.For/2 && until.Sub(have.EndsAt) > time.Second
}

// reconcile asks for what is due. A silence that is refused keeps no other from
// being made; any other failure ends the round.
func (s *Silencer) reconcile(ctx context.Context, wanted map[key]want) error {
	base, err := ask.CheckURL(s.cfg.Alertmanager.URL)
	if err != nil {
		return err
	}
	session, err := s.client.Session()
	if err != nil {
		return err
	}
	defer session.Close()
	a := &alertmanager{session: session, service: s.cfg.Alertmanager, base: base, ahead: s.ahead, within: s.within, count: s.metrics.count}
	defer func() { s.ahead = a.ahead }()
	if s.known == nil || s.cfg.Now().Sub(s.listed) >= relist {
		if err := s.read(ctx, a); err != nil {
			return err
		}
	}
	maps.DeleteFunc(s.refused, func(k key, _ refusal) bool { _, ok := wanted[k]; return !ok })
	for _, k := range sorted(wanted) {
		if !s.due(k, wanted[k], s.cfg.Now()) {
			continue
		}
		if !s.cfg.Elected() {
			return nil // the next one does it
		}
		err := s.renew(ctx, a, wanted[k])
		var one badSilence
		switch {
		case err == nil:
			delete(s.refused, k)
		case errors.As(err, &one):
			s.refused[k] = refusal{err, s.cfg.Now()}
		default:
			return err
		}
	}
	for _, k := range sorted(s.known) {
		if _, ok := wanted[k]; ok {
			continue
		}
		if !s.cfg.Elected() {
			return nil
		}
		if err := s.end(ctx, a, k); err != nil {
			return err
		}
	}
	return nil
}

// read finds what this cluster's coordinators made. Of two for one hold the longer
// one stays.
func (s *Silencer) read(ctx context.Context, a *alertmanager) error {
	all, err := a.list(ctx)
	if err != nil {
		return err
	}
	known := map[key]silence{}
	var over []silence
	for _, have := range all {
		k, ok := keyOf(have.Comment)
		if !ok || have.CreatedBy != s.author() {
			continue
		}
		have.EndsAt = have.EndsAt.Add(-a.ahead)
		if other, twice := known[k]; twice {
			if other.EndsAt.After(have.EndsAt) {
				other, have = have, other
			}
			over = append(over, other)
		}
		known[k] = have
	}
	for _, have := range over {
		if err := a.expire(ctx, have.ID); err != nil {
			return err
		}
	}
	s.known, s.ending, s.listed = known, map[key]bool{}, s.cfg.Now()
	if s.refused == nil {
		s.refused = map[key]refusal{}
	}
	return nil
}

func (s *Silencer) author() string { return "lockkeeper/" + s.cfg.Cluster() }

// renew makes the silence of a hold, or moves its end.
func (s *Silencer) renew(ctx context.Context, a *alertmanager, w want) error {
	matchers, err := s.template.fill(w.node, w.labels)
	if err != nil {
		return badSilence{err}
	}
	now := s.cfg.Now()
	have, ok := s.known[w.key]
	if !ok {
		have = silence{StartsAt: started(now, a)}
	}
	have.Matchers, have.CreatedBy, have.Comment = matchers, s.author(), w.comment()
	end := w.until(now, s.cfg.For)
	have.EndsAt = end.Add(a.ahead)
	id, err := a.put(ctx, have)
	if errors.Is(err, errGone) && have.ID != "" { // it lost its data
		have.ID, have.StartsAt = "", started(now, a)
		id, err = a.put(ctx, have)
	}
	if err != nil {
		return err
	}
	if id != have.ID {
		// The start that it wrote down is needed to change it later.
		if have, err = a.get(ctx, id); err != nil {
			return err
		}
		s.log.Debug("alerts are silenced", "node", w.node, "group", w.group, "until", end, "silence", id)
	}
	have.EndsAt = end
	s.known[w.key] = have
	delete(s.ending, w.key)
	return nil
}

// started is a start that the Alertmanager takes for now, whatever the rest of the
// difference between the clocks.
func started(now time.Time, a *alertmanager) time.Time { return now.Add(a.ahead - time.Minute) }

// end lets a silence end soon, its hold being returned: a little later than now,
// and at once when its node has failed.
func (s *Silencer) end(ctx context.Context, a *alertmanager, k key) error {
	have, now := s.known[k], s.cfg.Now()
	if !have.EndsAt.After(now) {
		delete(s.known, k)
		delete(s.ending, k)
		return nil
	}
	if s.ending[k] {
		return nil
	}
	if s.failed(k.node) {
		if err := a.expire(ctx, have.ID); err != nil {
			return err
		}
		delete(s.known, k)
		return nil
	}
	if end := now.Add(s.cfg.Linger); end.Before(have.EndsAt) {
		changed := have
		changed.EndsAt = end.Add(a.ahead)
		id, err := a.put(ctx, changed)
		var one badSilence
		switch {
		case errors.Is(err, errGone):
			delete(s.known, k)
			return nil
		case errors.As(err, &one): // it ended meanwhile
		case err != nil:
			return err
		case id != have.ID:
			// It had ended, and is another now.
			delete(s.known, k)
			return a.expire(ctx, id)
		}
		have.EndsAt = end
	}
	s.known[k] = have
	s.ending[k] = true
	s.log.Debug("silence ends", "node", k.node, "group", k.group, "at", have.EndsAt)
	return nil
}

func sorted[V any](m map[key]V) []key {
	return slices.SortedFunc(maps.Keys(m), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.node, b.node))
	})
}
