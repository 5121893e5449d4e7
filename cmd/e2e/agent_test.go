package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A wrong token, a key that is not the pinned one, and a coordinator that is not
// there: the agent says so, touches nothing, and goes on by itself once it can.
func TestAgent_SaysWhatIsWrongWithItsCoordinatorsAndGoesOn(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	w := newWitness(t)
	right, _ := s.token(t, "--role", "node", "--node", "host-1")
	_, second := s.token(t, "--role", "node", "--node", "host-2")
	token := filepath.Join(t.TempDir(), "token")
	must0(t, os.WriteFile(token, []byte("lk_wrong\n"), 0o600))
	servers := "https://" + freePort(t) + "," + s.url // nobody is at the first
	m := startMachine(t, w, "host-1", servers, "--token-file", token, "--pin", s.pin)
	other := startMachine(t, w, "host-2", s.url, "--token-file", second, "--pin", "sha256:"+strings.Repeat("0", 64))
	eventually(t, "the wrong token is said", func() bool {
		return strings.Contains(m.agent.output(t), "unauthenticated: that is no token")
	})
	eventually(t, "the wrong key is said", func() bool {
		return strings.Contains(other.agent.output(t), "and not a pinned one")
	})
	if out := must(t, s.admin, "node", "list"); strings.Contains(out, "host-") {
		t.Errorf("somebody was let in:\n%s", out)
	}
	must0(t, os.WriteFile(token, []byte(right+"\n"), 0o600))
	reports(t, s.admin, "host-1")
	startRollout(t, s.admin, pushBundle(t, s.admin, "new", ""))
	eventually(t, "the host is updated", func() bool { return w.count(t, "up host-1") == 1 })
	if got := m.file(t, "etc/app.conf"); got != "new\n" {
		t.Errorf("the file is %q", got)
	}
	if got := other.file(t, "etc/app.conf"); got != "old\n" || w.count(t, "down host-2") != 0 {
		t.Errorf("who trusts nobody has %q", got)
	}
}
