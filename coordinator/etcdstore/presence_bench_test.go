package etcdstore

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
)

// BenchmarkPresence_TenThousand is what it costs until the others know of all,
// and one round of heartbeats after that.
func BenchmarkPresence_TenThousand(b *testing.B) {
	const ids = 10_000
	for range b.N {
		c, prefix := client(b)
		d := New(Config{Client: c, Prefix: prefix})
		if err := d.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		p := fleet.NewPresence(fleet.PresenceConfig{Store: d, Kind: fleet.Agents})
		p.Start()
		count := func() (int64, int64) {
			resp, err := c.Get(b.Context(), d.presencePrefix(fleet.Agents), clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				b.Fatal(err)
			}
			return resp.Count, resp.Header.Revision
		}
		round := func() {
			for i := range ids {
				p.Hear(fmt.Sprintf("host-%05d.example.com", i), "0123456789abcdef")
			}
		}
		_, before := count()
		began := time.Now()
		round()
		n, revision := count()
		for ; n < ids; n, revision = count() {
			time.Sleep(time.Millisecond)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/told")
		b.ReportMetric(float64(revision-before), "txns/told")
		began = time.Now()
		round()
		b.ReportMetric(float64(time.Since(began).Microseconds())/ids, "us/heartbeat")
		if _, after := count(); after != revision {
			b.Errorf("heartbeats wrote: revision %d, was %d", after, revision)
		}
		p.Stop()
		d.Stop()
	}
}
