package semaphore

import "math/bits"

// line is a queue in order that is never changed, like trie: a waiter comes,
// goes, and is told its place at a cost that grows with the logarithm of the
// queue. It is a treap: a search tree by the order of the queue and, by chance,
// a heap, so that it stays flat.
type line struct{ root *lineNode }

type lineNode struct {
	w           *Waiter
	rank        int // of the waiter when it was put
	chance      uint64
	size        int
	left, right *lineNode
}

// before reports the order of the queue: rank, higher first, then ticket. The
// node settles what two revisions never share.
func (n *lineNode) before(rank int, ticket int64, node string) bool {
	switch {
	case n.rank != rank:
		return n.rank > rank
	case n.w.CreateRevision != ticket:
		return n.w.CreateRevision < ticket
	}
	return n.w.Node < node
}

func (n *lineNode) length() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *lineNode) over(left, right *lineNode) *lineNode {
	m := *n
	m.left, m.right, m.size = left, right, left.length()+1+right.length()
	return &m
}

// split parts n into those before the place and those at or behind it.
func (n *lineNode) split(rank int, ticket int64, node string) (before, rest *lineNode) {
	if n == nil {
		return nil, nil
	}
	if n.before(rank, ticket, node) {
		before, rest = n.right.split(rank, ticket, node)
		return n.over(n.left, before), rest
	}
	before, rest = n.left.split(rank, ticket, node)
	return before, n.over(rest, n.right)
}

// joined is all of a before all of b.
func joined(a, b *lineNode) *lineNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.chance > b.chance:
		return a.over(a.left, joined(a.right, b))
	}
	return b.over(joined(a, b.left), b.right)
}

func (l line) with(w *Waiter, rank int) line {
	before, rest := l.root.split(rank, w.CreateRevision, w.Node)
	n := &lineNode{w: w, rank: rank, chance: scatter(uint64(w.CreateRevision)), size: 1}
	return line{joined(joined(before, n), rest)}
}

func (l line) without(w *Waiter, rank int) line { return line{l.root.drop(w, rank)} }

func (n *lineNode) drop(w *Waiter, rank int) *lineNode {
	switch {
	case n == nil:
		return nil
	case n.w == w:
		return joined(n.left, n.right)
	case n.before(rank, w.CreateRevision, w.Node):
		return n.over(n.left, n.right.drop(w, rank))
	}
	return n.over(n.left.drop(w, rank), n.right)
}

// ahead counts those before a place.
func (l line) ahead(rank int, ticket int64, node string) int {
	n, count := l.root, 0
	for n != nil {
		if n.before(rank, ticket, node) {
			count += n.left.length() + 1
			n = n.right
		} else {
			n = n.left
		}
	}
	return count
}

func (n *lineNode) each(yield func(*Waiter) bool) bool {
	return n == nil || n.left.each(yield) && yield(n.w) && n.right.each(yield)
}

// scatter makes numbers that follow one another look random (splitmix64).
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return bits.Reverse64(x ^ x>>31)
}
