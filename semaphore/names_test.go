package semaphore_test

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestValidGroup_IsAsFleetLockHasIt(t *testing.T) {
	for name, valid := range map[string]bool{
		"default": true, "Web-1.eu": true, ".": true, "-": true, "0": true, strings.Repeat("x", 253): true,
		"": false, "a b": false, "a_b": false, "a/b": false, "a\n": false, "ä": false, "a\x00": false, "@": false, "[": false, "`": false, "{": false, ":": false,
		strings.Repeat("x", 254): false,
	} {
		if err := semaphore.ValidGroup(name); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestValidLabel_IsAsKubernetesAndPrometheusHaveThem(t *testing.T) {
	for name, valid := range map[string]bool{
		"zone": true, "topology.kubernetes.io/zone": true, "__role": true, "rack_7": true, "7": true, "a-b": true, "Zone": true, strings.Repeat("x", 128): true,
		"": false, "my key": false, " zone": false, "zone ": false, "a=b": false, "a,b": false, "zone-": false, "-zone": false, ".zone": false, "zone/": false, "a{b}": false, "größe": false, "a\n": false, "a\x00": false, "a:b": false,
		strings.Repeat("x", 129): false,
	} {
		if err := semaphore.ValidLabel(name); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
