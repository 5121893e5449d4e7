package etcdstore

import (
	"slices"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// later has this program be of a version that reads more, until the test ends.
func later(t *testing.T, v int) {
	t.Helper()
	was := semaphore.SchemaVersion
	semaphore.SchemaVersion = v
	t.Cleanup(func() { semaphore.SchemaVersion = was })
}

// A new schema is written when every coordinator can read it, and not before:
// while an old one is there, and while a member of the store is down that may
// come back as it was.
func TestSchema_IsRaisedOnceEveryCoordinatorReadsIt(t *testing.T) {
	later(t, 3)
	c, prefix := client(t)
	members := []string{"m1", "m2"}
	begin := func(name, member string, maxV int) *DB {
		d := openAt(t, Config{Client: c, Prefix: prefix, Self: Coordinator{Name: name, MaxV: maxV},
			Figures: func() Figures { return Figures{Member: member} }, Members: func() []string { return members }})
		if _, _, err := d.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Announce()
		return d
	}
	a := begin("a", "m1", 3)
	soon(t, "it is here", func() bool { return len(a.Coordinators()) == 1 })
	if got := a.agreedSchema(); got != 0 || a.Schema() != semaphore.BaseSchema {
		t.Errorf("with a member down it agrees on %d, writes %d", got, a.Schema())
	}
	old := begin("b", "m2", 1)
	soon(t, "both are here", func() bool { return len(a.Coordinators()) == 2 })
	if got := a.agreedSchema(); got != 1 || a.Schema() != 1 {
		t.Errorf("beside an old one it agrees on %d, writes %d", got, a.Schema())
	}
	old.Stop()
	fresh := begin("b", "m2", 2)
	soon(t, "the schema of both is written", func() bool { return a.Schema() == 2 && fresh.Schema() == 2 })
	soon(t, "the audit trail tells of it", func() bool {
		list, err := a.Events(t.Context(), api.EventQuery{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list.Events, func(e api.Event) bool { return e.Kind == "cluster.schema.raised" })
	})
	fresh.Stop()
	back := begin("b", "m2", 1)
	soon(t, "both are here again", func() bool { return len(a.Coordinators()) == 2 && a.agreedSchema() == 1 })
	if a.Schema() != 2 {
		t.Errorf("the schema fell to %d", a.Schema())
	}
	if a.GivesWay() {
		t.Error("one that reads what is written gives way")
	}
	soon(t, "the one that was put back gives way", back.GivesWay)
	a.Stop()
	soon(t, "it gives way to nobody", func() bool { return !back.GivesWay() })
}
