package service

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// Whoever asks a coordinator whose clock is right learns which one's is not.
func TestPeersClockOff_NamesTheOneThatIsOff(t *testing.T) {
	peer := func(name string, off time.Duration) etcdstore.Peer {
		return etcdstore.Peer{Coordinator: etcdstore.Coordinator{Name: name}, ClockOff: off, ClockOffKnown: true}
	}
	self := etcdstore.Peer{Coordinator: etcdstore.Coordinator{Name: "a"}, Self: true}
	unheard := etcdstore.Peer{Coordinator: etcdstore.Coordinator{Name: "d"}}
	for _, c := range []struct {
		what  string
		peers []etcdstore.Peer
		want  []string // what is said, in order
	}{
		{"alone", []etcdstore.Peer{self}, nil},
		{"all right", []etcdstore.Peer{self, peer("b", time.Second), peer("c", -29*time.Second)}, nil},
		{"one ahead", []etcdstore.Peer{self, peer("b", time.Hour+time.Second), peer("c", time.Second)}, []string{"coordinator b is off: It is 1h0m0s ahead of the median of the 2 others'"}},
		{"one behind", []etcdstore.Peer{self, peer("b", 0), peer("c", -time.Hour)}, []string{"coordinator c is off: It is 1h0m0s behind the median of the 2 others'"}},
		{"this one itself", []etcdstore.Peer{self, peer("b", time.Hour), peer("c", time.Hour)}, nil},
		{"of two", []etcdstore.Peer{self, peer("b", time.Hour)}, []string{"coordinator b is off: It is 1h0m0s ahead of this one's"}},
		{"not heard yet", []etcdstore.Peer{self, unheard}, nil},
	} {
		got := peersClockOff(c.peers)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.what, got)
			continue
		}
		for i, a := range got {
			if text := a.Title + ": " + a.Detail; !strings.Contains(text, c.want[i]) {
				t.Errorf("%s: %q, want %q in it", c.what, text, c.want[i])
			}
		}
	}
}
