package etcdstore

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// FuzzKeys: a key says whose it is, no two share one, and a key of any other
// form is passed over. More: `go test -fuzz FuzzKeys ./semaphore/etcdstore`.
func FuzzKeys(f *testing.F) {
	for _, seed := range [][5]string{
		{"web", "n1", "db", "n1", "/lockkeeper/groups/web/holds/n1"},
		{"a", "b/holds/c", "a", "b", "/lockkeeper/groups/a/holds/b/holds/c"},
		{"..", ".", ".", "..", "/lockkeeper/groups/../spec"},
		{"g", "%", "g", "%25", "/lockkeeper/groups/g/queue/%"},
		{"g", "\xff\x00", "g", "\x00", "/lockkeeper/groups//holds/"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	k := keys{"/lockkeeper/"}
	tables := []table{holdKeys, memberKeys, queueKeys}
	f.Fuzz(func(t *testing.T, groupA, nodeA, groupB, nodeB, any string) {
		k.parse(any)
		if semaphore.ValidGroup(groupA) != nil || semaphore.ValidGroup(groupB) != nil || nodeA == "" || nodeB == "" {
			return
		}
		for _, a := range tables {
			key := k.node(groupA, a, nodeA)
			if group, table, node, ok := k.parse(key); !ok || group != groupA || table != a || node != nodeA {
				t.Fatalf("%q is read as %q %q %q %t", key, group, table, node, ok)
			}
			for _, b := range tables {
				if same := groupA == groupB && nodeA == nodeB && a == b; !same && key == k.node(groupB, b, nodeB) {
					t.Fatalf("%q of %q and %q of %q share %q", nodeA, groupA, nodeB, groupB, key)
				}
			}
		}
		for _, own := range []table{specKey, headKey} {
			if group, table, node, ok := k.parse(k.group(groupA, own)); !ok || group != groupA || table != own || node != "" {
				t.Fatalf("%s of %q is read as %q %q %q %t", own, groupA, group, table, node, ok)
			}
		}
	})
}
