package etcdstore

import (
	"testing"
	"time"
)

// An hour in which nobody wrote is remembered by all, also by one that starts
// behind it; a coordinator that is slow to say that it is here makes none.
func TestOutages_ATimeInWhichNobodyWroteIsRemembered(t *testing.T) {
	c, prefix := client(t)
	a, b := present(t, prefix, "a", 0), present(t, prefix, "b", 20*time.Second)
	tell(t, a, b)
	if got := a.Outages(); len(got) != 0 {
		t.Fatalf("outages are %+v", got)
	}
	a.Stop()
	b.Stop()
	late := present(t, prefix, "c", time.Hour)
	soon(t, "it is remembered", func() bool { return len(late.Outages()) == 1 })
	if o := late.Outages()[0]; o.To.Sub(o.From).Round(10*time.Minute) != time.Hour {
		t.Errorf("it was from %s to %s", o.From, o.To)
	}
	tell(t, late)
	last := openAt(t, Config{Client: c, Prefix: prefix, Now: time.Now, Self: Coordinator{Name: "d"}})
	soon(t, "one that starts later knows", func() bool { return len(last.Outages()) == 1 })

	week := present(t, prefix, "e", time.Hour+outageKept+time.Minute)
	if err := week.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "the old one is forgotten", func() bool {
		for _, o := range week.Outages() {
			if o.To.Sub(o.From) < 2*time.Hour {
				return false
			}
		}
		return true
	})
}
