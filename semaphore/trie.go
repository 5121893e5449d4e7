package semaphore

import (
	"hash/maphash"
	"iter"
	"slices"
)

// trie is a map by text that is never changed: with and without return
// another, which shares all but a path of it. So a state can be handed on and
// gone on from at a cost that does not grow with the group.
type trie[V any] struct {
	root *trieNode[V]
	size int
}

// trieNode branches by four bits of the hash, or holds a few entries.
type trieNode[V any] struct {
	kids   *[16]*trieNode[V]
	leaves []trieLeaf[V]
}

type trieLeaf[V any] struct {
	hash uint64
	key  string
	v    *V
}

// trieLeaves is how many entries a node holds before it branches.
const trieLeaves = 8

var trieSeed = maphash.MakeSeed()

func (t trie[V]) get(key string) *V {
	hash := maphash.String(trieSeed, key)
	n := t.root
	for shift := 0; n != nil; shift += 4 {
		if n.kids == nil {
			for i := range n.leaves {
				if l := &n.leaves[i]; l.hash == hash && l.key == key {
					return l.v
				}
			}
			return nil
		}
		n = n.kids[hash>>shift&15]
	}
	return nil
}

func (t trie[V]) with(key string, v *V) trie[V] {
	root, added := t.root.with(trieLeaf[V]{maphash.String(trieSeed, key), key, v}, 0)
	if added {
		t.size++
	}
	t.root = root
	return t
}

func (n *trieNode[V]) with(l trieLeaf[V], shift int) (*trieNode[V], bool) {
	if n == nil {
		return &trieNode[V]{leaves: []trieLeaf[V]{l}}, true
	}
	if n.kids != nil {
		kids, i := *n.kids, l.hash>>shift&15
		kid, added := kids[i].with(l, shift+4)
		kids[i] = kid
		return &trieNode[V]{kids: &kids}, added
	}
	if i := n.index(l.hash, l.key); i >= 0 {
		leaves := slices.Clone(n.leaves)
		leaves[i] = l
		return &trieNode[V]{leaves: leaves}, false
	}
	if len(n.leaves) < trieLeaves || shift >= 64 {
		leaves := make([]trieLeaf[V], len(n.leaves), len(n.leaves)+1)
		copy(leaves, n.leaves)
		return &trieNode[V]{leaves: append(leaves, l)}, true
	}
	branch := &trieNode[V]{kids: new([16]*trieNode[V])}
	for _, old := range append(n.leaves[:len(n.leaves):len(n.leaves)], l) {
		kid := &branch.kids[old.hash>>shift&15]
		*kid, _ = (*kid).with(old, shift+4)
	}
	return branch, true
}

func (t trie[V]) without(key string) trie[V] {
	root, removed := t.root.without(maphash.String(trieSeed, key), key, 0)
	if removed {
		t.root, t.size = root, t.size-1
	}
	return t
}

func (n *trieNode[V]) without(hash uint64, key string, shift int) (*trieNode[V], bool) {
	if n == nil {
		return nil, false
	}
	if n.kids == nil {
		i := n.index(hash, key)
		switch {
		case i < 0:
			return n, false
		case len(n.leaves) == 1:
			return nil, true
		}
		return &trieNode[V]{leaves: slices.Delete(slices.Clone(n.leaves), i, i+1)}, true
	}
	i := hash >> shift & 15
	kid, removed := n.kids[i].without(hash, key, shift+4)
	if !removed {
		return n, false
	}
	kids := *n.kids
	kids[i] = kid
	if kids == [16]*trieNode[V]{} {
		return nil, true
	}
	return &trieNode[V]{kids: &kids}, true
}

func (n *trieNode[V]) index(hash uint64, key string) int {
	for i := range n.leaves {
		if n.leaves[i].hash == hash && n.leaves[i].key == key {
			return i
		}
	}
	return -1
}

// all goes through the entries, in no order. They must not be changed.
func (t trie[V]) all() iter.Seq2[string, *V] {
	return func(yield func(string, *V) bool) { t.root.each(yield) }
}

func (n *trieNode[V]) each(yield func(string, *V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.leaves {
		if !yield(n.leaves[i].key, n.leaves[i].v) {
			return false
		}
	}
	if n.kids != nil {
		for _, kid := range n.kids {
			if !kid.each(yield) {
				return false
			}
		}
	}
	return true
}
