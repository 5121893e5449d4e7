package semaphore

// OvertakenPerSlot is by how many grants for each slot a waiter is overtaken,
// at most, before its slot and the limits that it needs may be kept for it.
const OvertakenPerSlot = 10

// Overtaken is how many grants the group made since the waiter came, those for
// the nodes that waited before it not counted. It needs no write: it follows
// from the head and from what the waiter's value says of its coming.
func Overtaken(s *State, w Waiter) int64 {
	return max(0, s.Head.Grants-w.Grants-int64(w.Ahead))
}

// MayReserve reports whether the waiter was overtaken so often, since the
// count at which its last reservation ended (0: it had none), that it may have
// one now.
func MayReserve(s *State, w Waiter, since int64) bool {
	return Overtaken(s, w)-since >= int64(OvertakenPerSlot*max(1, s.SlotCount()))
}
