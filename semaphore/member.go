package semaphore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// putMember registers a node or changes its labels. The hold of a holder keeps
// the labels that it was granted under.
func (b *draft) putMember(op PutMember) {
	if err := ValidNode(op.Node); err != nil {
		b.refuse(Invalid, "%v", err)
		return
	}
	m, known := b.s.Member(op.Node)
	if op.IfMatch != 0 && op.IfMatch != m.Revision {
		b.refuse(ChangedSince, "node %q was changed meanwhile, as a member of group %q", op.Node, b.s.Group)
		return
	}
	before := m
	m.Node = op.Node
	if op.Registered != nil {
		m.Registered = maps.Clone(op.Registered)
	}
	if op.Declared != nil {
		m.Declared = maps.Clone(op.Declared)
	}
	if known && maps.Equal(before.Registered, m.Registered) && maps.Equal(before.Declared, m.Declared) {
		return
	}
	b.putMemberValue(m)
	if known {
		b.event("node.changed", op.By, op.Node, 0, "%s", labelText(m))
		b.changed(labelsOf(before), labelsOf(m))
		return
	}
	b.slots = b.s.Spec.Slots.Of(b.s.Size() + 1)
	b.event("node.joined", op.By, op.Node, 0, "%s", labelText(m))
	b.changed(nil, labelsOf(m))
}

// labelsOf is what an event tells of a member's labels: what an operator
// declared, and what the node registered.
func labelsOf(m Member) any {
	return struct {
		Declared   map[string]string `json:"declared,omitempty"`
		Registered map[string]string `json:"registered,omitempty"`
	}{m.Declared, m.Registered}
}

func labelText(m Member) string {
	labels := m.Labels()
	if len(labels) == 0 {
		return "no labels"
	}
	parts := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%s", name, labels[name]))
	}
	return strings.Join(parts, ",")
}

func (b *draft) setDown(op SetDown) {
	m, ok := b.s.Member(op.Node)
	switch {
	case !ok:
		b.refuse(NotFound, "%s", notMember(b.s, op.Node))
	case m.Down == op.Down:
	default:
		m.Down = op.Down
		b.putMemberValue(m)
		kind := "node.up"
		if op.Down {
			kind = "node.down"
		}
		b.event(kind, "", op.Node, 0, "")
	}
}

func (b *draft) setDuplicate(op SetDuplicate) {
	m, ok := b.s.Member(op.Node)
	switch {
	case !ok:
		b.refuse(NotFound, "%s", notMember(b.s, op.Node))
	case m.Duplicate == op.Why:
	default:
		m.Duplicate = op.Why
		b.putMemberValue(m)
		detail := op.Why
		if detail == "" {
			detail = "cleared: one host has this id"
		}
		b.event("node.duplicate", op.By, op.Node, 0, "%s", detail)
	}
}

func (b *draft) removeMember(op RemoveMember) {
	if _, ok := b.s.Member(op.Node); !ok {
		b.d.Answer.Detail = "it is no member"
		return
	}
	if h, holds := b.s.Hold(op.Node); holds {
		b.answerHold(h)
		b.refuse(InUse, "node %q holds a slot (fence %d)", op.Node, h.Fence)
		return
	}
	b.change(Change{DeleteMember: op.Node})
	b.slots = b.s.Spec.Slots.Of(b.s.Size() - 1)
	b.event("node.removed", op.By, op.Node, 0, "")
}
