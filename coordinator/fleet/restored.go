package fleet

// HeardSince reports whether the node was heard after a revision of the store,
// the one at which it was restored, as far as it is known here. What was heard
// by this process, or is said by another that is present, came after that; of
// earlier processes only what was written counts. No clock is asked.
func (r *Registry) HeardSince(id string, revision int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, found := r.nodes[id]
	if !found {
		return false
	}
	elsewhere, _ := r.cfg.Presence.Elsewhere(id)
	return !e.heard.IsZero() || !elsewhere.IsZero() || e.record.Revision > revision
}
