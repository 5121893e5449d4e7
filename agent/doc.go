// Package agent brings one host to the bundle that is wanted of it, and only
// while it holds one of its group's slots.
//
// It is a state machine: idle → waiting → holding → draining → applying →
// rebooting → verifying → releasing, or → failed. Next decides, purely, from
// what the journal says and what is observed; Agent writes the intent into the
// journal, acts, and observes. A crash at any instant is resumed from the
// journal. Before the drain and before the interrupt stands a gate: a confirm
// of the hold, whose answer counts for GateFor. After a failure the slot is
// returned only once a coordinator has heard of it.
package agent
