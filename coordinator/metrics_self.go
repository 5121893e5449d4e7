package coordinator

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// selfCollector tells of this coordinator: its version, its store, its clock and
// its certificates.
type selfCollector struct {
	version string
	store   interface {
		Info() api.StoreInfo
		Low() (grants, writes bool)
	}
	events interface {
		CountEvents(ctx context.Context) (int64, error)
	}
	peers interface {
		Coordinators() []etcdstore.Peer
		ClockOff() (ahead time.Duration, peers int)
	}
	// certificates gives those in use, by what they are for.
	certificates func() map[string]*x509.Certificate
}

var (
	descBuild        = desc("build_info", "Version of this coordinator; always 1.", "version")
	descCoordinators = desc("coordinators", "Coordinators that are present, by version.", "version")
	descSize         = desc("store_size_bytes", "Size of the store's database on disk.")
	descInUse        = desc("store_size_in_use_bytes", "Part of the store's database that is in use.")
	descQuota        = desc("store_quota_bytes", "Size that the store's database may have; from 80 % on nothing new begins, from 95 % on nothing is written.")
	descDiskFree     = desc("disk_free_bytes", "Bytes free for the data folder of an embedded store; below 512 MiB nothing new begins, below 128 MiB nothing is written.")
	descRefuses      = desc("store_refuses", "1 while this coordinator refuses, for want of disk space or quota, to grant or begin anything (grants), or to write at all (writes).", "what")
	descEvents       = desc("events", "Events of the audit trail that are kept.")
	descClock        = desc("clock_ahead_seconds", "How far this coordinator's clock is ahead of the median of the others', negative when it is behind; 0 without others. Beyond 30 s it grants nothing where a window, a blackout or a grant interval decides.")
	descExpiry       = desc("certificate_expiry_timestamp_seconds", "When a certificate in use ends: api (of the listener), peer (of this member), peer_authority (of the cluster).", "certificate")
)

// Describe implements prometheus.Collector.
func (c *selfCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descCoordinators, descSize, descInUse, descQuota, descDiskFree, descRefuses, descEvents, descClock, descExpiry,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *selfCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBuild, 1, c.version)
	versions := map[string]int{}
	for _, p := range c.peers.Coordinators() {
		versions[p.Version]++
	}
	for version, n := range versions {
		gauge(descCoordinators, float64(n), version)
	}
	info := c.store.Info()
	gauge(descSize, float64(info.DBSize))
	gauge(descInUse, float64(info.DBInUse))
	gauge(descQuota, float64(info.Quota))
	if info.Embedded {
		gauge(descDiskFree, float64(info.DiskFree))
	}
	grants, writes := c.store.Low()
	gauge(descRefuses, number(grants), "grants")
	gauge(descRefuses, number(writes), "writes")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if n, err := c.events.CountEvents(ctx); err == nil {
		gauge(descEvents, float64(n))
	}
	ahead, _ := c.peers.ClockOff()
	gauge(descClock, ahead.Seconds())
	for name, cert := range c.certificates() {
		gauge(descExpiry, float64(cert.NotAfter.Unix()), name)
	}
}

// certificates are those that this coordinator uses now. One that cannot be read
// is left out: whoever needs it says so.
func (c *Coordinator) certificates() map[string]*x509.Certificate {
	out := map[string]*x509.Certificate{}
	if cert := c.doors.main.Certificate(); cert != nil {
		out["api"] = cert
	}
	if c.member == nil {
		return out
	}
	files := c.member.PeerFiles()
	for name, path := range map[string]string{"peer": files.Cert, "peer_authority": files.CA} {
		if cert := certificateIn(path); cert != nil {
			out[name] = cert
		}
	}
	return out
}

// certificateIn is the first certificate of a PEM file, nil when there is none.
func certificateIn(path string) *x509.Certificate {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}
