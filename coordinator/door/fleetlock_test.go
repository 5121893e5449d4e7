package door

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func pemPair(t *testing.T, pair *tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// twoSlots is a group of two slots with one member.
func twoSlots(group string) (semaphore.State, bool) {
	return semaphore.State{
		Group: group, HeadRev: 1, Spec: semaphore.Spec{Slots: semaphore.Slots{N: 2}},
		Members: map[string]semaphore.Member{"known": {Node: "known"}},
	}, true
}

func TestFleetLockGate_ARefusalNamesTheNetworkThatLacksTheGroup(t *testing.T) {
	g, err := NewFleetLockGate(FleetLockConfig{View: twoSlots, Networks: []FleetLockNetwork{
		{netip.MustParsePrefix("10.1.0.0/16"), []string{"workers"}},
		{netip.MustParsePrefix("10.2.0.0/16"), []string{"edge"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[string]string{
		"10.1.2.3:4": "10.1.0.0/16", "10.3.2.3:4": "none of the FleetLock listener's networks",
	} {
		r := httptest.NewRequest("POST", "/v1/pre-reboot", nil)
		r.RemoteAddr = peer
		e := g.Admit(r, "edge", "known", true)
		if e == nil || e.Kind != api.Forbidden || !strings.Contains(e.Detail, want) || strings.Contains(e.Detail, "10.2.0.0") {
			t.Errorf("%s: %v, want %s", peer, e, want)
		}
	}
}

func TestFleetLockGate_OnlyTheNetworksOfAGroupAndFewUnknownIDs(t *testing.T) {
	now := time.Unix(1e9, 0)
	cfg := FleetLockConfig{
		Networks: []FleetLockNetwork{
			{netip.MustParsePrefix("10.1.0.0/16"), []string{"workers"}},
			{netip.MustParsePrefix("10.2.0.0/16"), []string{"workers", "edge"}},
		},
		View: twoSlots, Now: func() time.Time { return now },
	}
	g, err := NewFleetLockGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	admit := func(peer, group, id string, acquire bool) api.Kind {
		r := httptest.NewRequest("POST", "/v1/pre-reboot", nil)
		r.RemoteAddr = peer
		if e := g.Admit(r, group, id, acquire); e != nil {
			return e.Kind
		}
		return ""
	}
	for _, c := range []struct {
		why, peer, group, id string
		acquire              bool
		want                 api.Kind
	}{
		{"a member", "10.1.0.1:1", "workers", "known", true, ""},
		{"the same, mapped", "[::ffff:10.1.0.1]:1", "workers", "known", true, ""},
		{"a group of another network", "10.1.0.1:1", "edge", "known", true, api.Forbidden},
		{"no network of ours", "192.0.2.1:1", "workers", "known", true, api.Forbidden},
		{"no network of ours, release", "192.0.2.1:1", "workers", "known", false, api.Forbidden},
		{"no address", "@", "workers", "known", true, api.Forbidden},
		{"1st unknown id", "10.1.0.1:1", "workers", "a", true, ""},
		{"2nd", "10.1.0.2:1", "workers", "b", true, ""},
		{"3rd", "10.1.0.3:1", "workers", "c", true, ""},
		{"4th", "10.1.0.4:1", "workers", "d", true, ""},
		{"the 1st again", "10.1.0.1:1", "workers", "a", true, ""},
		{"5th", "10.1.0.5:1", "workers", "e", true, api.Rate},
		{"5th, release", "10.1.0.5:1", "workers", "e", false, ""},
		{"a member meanwhile", "10.1.0.1:1", "workers", "known", true, ""},
		{"from another network", "10.2.0.1:1", "workers", "e", true, ""},
	} {
		if got := admit(c.peer, c.group, c.id, c.acquire); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
	now = now.Add(time.Hour)
	if got := admit("10.1.0.5:1", "workers", "e", true); got != "" {
		t.Errorf("an hour later: %q", got)
	}
	cfg.KnownIDsOnly = true
	if g, err = NewFleetLockGate(cfg); err != nil {
		t.Fatal(err)
	}
	if got := admit("10.1.0.1:1", "workers", "a", true); got != api.Forbidden {
		t.Errorf("known ids only: %q", got)
	}
	if _, err := NewFleetLockGate(FleetLockConfig{View: twoSlots}); err == nil {
		t.Error("a gate without networks was made")
	}
}
