package rollout

import "testing"

func TestBelong_ReadsAsASentence(t *testing.T) {
	for want, nodes := range map[string][]string{
		`node "a" belongs`:      {"a"},
		`2 nodes (a, b) belong`: {"a", "b"},
	} {
		if got := belong(nodes); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
