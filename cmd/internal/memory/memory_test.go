package memory

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent_IsAFixedRoomAndAtLeastAShare(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		live, beside uint64
		want         int
	}{
		{0, 0, 3200}, {16 * mb, 0, 200}, {30 * mb, 2 * mb, 100}, {100 * mb, 60 * mb, 20}, {256 * mb, 0, 12}, {4096 * mb, 0, 12},
	} {
		if got := percentFor(c.live, c.beside); got != c.want {
			t.Errorf("%d MB and %d MB: %d %%, want %d %%", c.live/mb, c.beside/mb, got, c.want)
		}
	}
}

// With 200 MB alive the next collection comes after the room, not after
// another 200 MB.
func TestTune_ABigHeapDoesNotDouble(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	Tune()
	alive := make([][]byte, 200)
	for i := range alive {
		alive[i] = make([]byte, 1<<20)
	}
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	deadline := time.Now().Add(30 * time.Second)
	for {
		runtime.GC() // the finalizer runs some time behind it
		metrics.Read(sample)
		if goal := sample[0].Value.Uint64(); goal < 200<<20+2*Room {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the heap may still grow to %d MB", sample[0].Value.Uint64()>>20)
		}
		time.Sleep(time.Millisecond)
	}
	runtime.KeepAlive(alive)
}
