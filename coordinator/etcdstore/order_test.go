package etcdstore

import (
	"fmt"
	"log/slog"
	"testing"
)

func TestEvents_OfOneTransactionComeInTheirSequence(t *testing.T) {
	d := &DB{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	var kvs []kv
	for _, seq := range []int{9, 8, 10} {
		kvs = append(kvs, kv{revision: 5, value: fmt.Appendf(nil, `{"v":1,"scope":"group/web","seq":%d,"kind":"hold.granted"}`, seq)})
	}
	for i, e := range d.decodeEvents(kvs) {
		if want := int64(8 + i); e.Seq != want {
			t.Errorf("event %d has sequence %d, want %d", i, e.Seq, want)
		}
	}
}
