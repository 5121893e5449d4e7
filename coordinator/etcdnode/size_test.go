package etcdnode

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRoom_IsLookedAtOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r room
		looks := int64(0)
		look := func() int64 { looks++; return looks }
		for range 3 {
			if free := r.now(look); free != 1 {
				t.Errorf("look %d, want that of a moment ago", free)
			}
		}
		time.Sleep(roomSeenFor)
		if free := r.now(look); free != 2 {
			t.Errorf("look %d, want a new one", free)
		}
	})
}

func TestHistory_IsDroppedWhenTheDatabaseHasGrown(t *testing.T) {
	var h history
	const base = 10 << 20
	for _, look := range []struct {
		revision, inUse int64
		upTo            int64
	}{
		{100, base, 0},
		{200, base + 2*compactGrowth, 0}, // grown, and its history is young
		{300, base + 2*compactGrowth, 0},
		{400, base + 2*compactGrowth, 100},
		{500, base + compactGrowth - 1, 0},
		{600, base + compactGrowth, 300},
		{700, base / 2, 0}, // less was in use: that counts from here on
		{800, base/2 + compactGrowth, 500},
	} {
		upTo, due := h.look(look.revision, look.inUse)
		if due != (look.upTo != 0) || due && upTo != look.upTo {
			t.Errorf("at revision %d with %d bytes: %t, up to %d; want %d", look.revision, look.inUse, due, upTo, look.upTo)
		}
	}
}
