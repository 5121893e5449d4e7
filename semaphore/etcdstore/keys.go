package etcdstore

import (
	"fmt"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// table is one kind of key in a group.
type table string

const (
	specKey    table = "spec"
	headKey    table = "semaphore"
	holdKeys   table = "holds"
	memberKeys table = "members"
	queueKeys  table = "queue"
)

// keys builds and reads the keys under one prefix.
type keys struct{ prefix string }

func (k keys) group(name string, t table) string {
	return k.prefix + "groups/" + name + "/" + string(t)
}

// nodes is the prefix of a group's keys of one kind.
func (k keys) nodes(name string, t table) string { return k.group(name, t) + "/" }

func (k keys) node(name string, t table, node string) string {
	return k.nodes(name, t) + semaphore.EscapeID(node)
}

func (k keys) freeze() string { return k.prefix + "freeze" }

// froze says when the fleet was frozen. It lies in the watched range.
func (k keys) froze() string { return k.prefix + "froze" }

// memberOut says which coordinator's host is out. It lies outside of what is
// watched as one range.
func (k keys) memberOut() string { return k.prefix + "cluster/member-out" }

func (k keys) events(scope string) string { return k.prefix + "events/" + scope + "/" }

func (k keys) event(scope string, seq int64) string {
	return fmt.Sprintf("%s%016d", k.events(scope), seq)
}

// watched is the range from the freeze key to the end of the groups: one
// watch covers both, in the order of their revisions.
func (k keys) watched() (from, end string) { return k.freeze(), k.prefix + "groups0" }

// parse takes a key of a group apart. A key of another form is not ok.
func (k keys) parse(key string) (group string, t table, node string, ok bool) {
	rest, ok := strings.CutPrefix(key, k.prefix+"groups/")
	if !ok {
		return "", "", "", false
	}
	parts := strings.Split(rest, "/")
	group = parts[0]
	switch {
	case len(parts) == 2 && (table(parts[1]) == specKey || table(parts[1]) == headKey):
		return group, table(parts[1]), "", true
	case len(parts) == 3 && (table(parts[1]) == holdKeys || table(parts[1]) == memberKeys || table(parts[1]) == queueKeys):
		id, err := semaphore.UnescapeID(parts[2])
		return group, table(parts[1]), id, err == nil
	}
	return "", "", "", false
}
