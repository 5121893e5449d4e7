package coordinator

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// told is what a collector tells, by name and labels as they are written.
func told(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out[strings.TrimPrefix(f.GetName(), "lockkeeper_")+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue()
		}
	}
	return out
}

func want(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if have, there := got[name]; !there || have != v {
			t.Errorf("%s is %v (%v), want %v", name, have, there, v)
		}
	}
}

func TestMetrics_TellOfHoldsHowOldAndHowSilentTheyAre(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	heard := func(d time.Duration) *time.Time { at := ago(d); return &at }
	c := &fleetCollector{
		now: func() time.Time { return now }, started: ago(time.Hour),
		status: func(context.Context) (api.Status, error) {
			return api.Status{
				Figures:   api.Figures{ByVersion: map[string]int{"v1.0.0": 3, "v1.1.0": 1}},
				Attention: []api.Attention{{Kind: "unable"}, {Kind: "unable"}, {Kind: "halted"}},
				Groups: []api.Group{
					{Name: "web", Holds: []api.Hold{
						{State: "confirmed", Via: "agent", Since: ago(50 * time.Minute), Heard: heard(20 * time.Minute)},
						{State: "confirmed", Via: "agent", Since: ago(5 * time.Minute), Heard: heard(time.Second)},
						{State: "confirmed", Via: "fleetlock", Since: ago(40 * time.Minute), Heard: heard(40 * time.Minute)},
					}},
					// Heard before the grant, and before this coordinator started: not missed yet.
					{Name: "new", Holds: []api.Hold{{State: "granted", Via: "agent", Since: ago(time.Minute), Heard: heard(10 * time.Minute)}}},
					{Name: "old", Holds: []api.Hold{{State: "confirmed", Via: "agent", Since: ago(3 * time.Hour), Heard: &time.Time{}}}},
					{Name: "idle"},
				},
			}, nil
		},
	}
	want(t, told(t, c), map[string]float64{
		"newest_hold_age_seconds{group=web}": 300, "hold_age_seconds{group=web}": 3000, "hold_silence_seconds{group=web}": 1200,
		"hold_silence_seconds{group=new}": 60, "hold_silence_seconds{group=old}": 3600,
		"newest_hold_age_seconds{group=idle}": 0, "hold_silence_seconds{group=idle}": 0,
		"agents{version=v1.0.0}": 3, "agents{version=v1.1.0}": 1,
		"attention{kind=unable}": 2, "attention{kind=halted}": 1,
	})
}

// fakeSelf is a coordinator's surroundings, made up.
type fakeSelf struct {
	info           api.StoreInfo
	grants, writes bool
	peers          []etcdstore.Peer
	ahead          time.Duration
}

func (f *fakeSelf) Info() api.StoreInfo                        { return f.info }
func (f *fakeSelf) Low() (grants, writes bool)                 { return f.grants, f.writes }
func (f *fakeSelf) CountEvents(context.Context) (int64, error) { return 12, nil }
func (f *fakeSelf) Coordinators() []etcdstore.Peer             { return f.peers }
func (f *fakeSelf) ClockOff() (d time.Duration, n int)         { return f.ahead, len(f.peers) - 1 }

func TestMetrics_TellOfThisCoordinatorsStoreClockAndCertificates(t *testing.T) {
	version := func(v string) etcdstore.Peer { return etcdstore.Peer{Coordinator: etcdstore.Coordinator{Version: v}} }
	f := &fakeSelf{
		info:   api.StoreInfo{DBSize: 90, DBInUse: 40, Quota: 100, DiskFree: 7, Embedded: true},
		grants: true, ahead: -31 * time.Second, peers: []etcdstore.Peer{version("a"), version("b"), version("a")},
	}
	ends := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &selfCollector{version: "a", store: f, peers: f, events: f, certificates: func() map[string]*x509.Certificate {
		return map[string]*x509.Certificate{"peer": {NotAfter: ends}}
	}}
	want(t, told(t, c), map[string]float64{
		"build_info{version=a}": 1, "coordinators{version=a}": 2, "coordinators{version=b}": 1,
		"store_size_bytes{}": 90, "store_size_in_use_bytes{}": 40, "store_quota_bytes{}": 100, "disk_free_bytes{}": 7,
		"store_refuses{what=grants}": 1, "store_refuses{what=writes}": 0, "clock_ahead_seconds{}": -31, "events{}": 12,
		"certificate_expiry_timestamp_seconds{certificate=peer}": float64(ends.Unix()),
	})
	f.info.Embedded = false
	if _, there := told(t, c)["disk_free_bytes{}"]; there {
		t.Error("it tells of the disk of an etcd that others run")
	}
}

// What a running coordinator uses is found: its own certificate and those among
// the members.
func TestMetrics_TellWhenTheCertificatesInUseEnd(t *testing.T) {
	free, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{DataDir: t.TempDir() + "/data", Listen: "127.0.0.1:0", TLS: TLSConfig{SelfSigned: true}, Peer: PeerConfig{Listen: free}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	years := map[string]string{}
	for name, cert := range c.certificates() {
		years[name] = fmt.Sprintf("%.0f", time.Until(cert.NotAfter).Hours()/24/365)
	}
	if got := fmt.Sprint(years); got != "map[api:10 peer:1 peer_authority:30]" {
		t.Errorf("certificates end in years %s", got)
	}
}
