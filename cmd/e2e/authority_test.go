package e2e

import (
	"crypto/tls"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// The authority of three coordinators is replaced while they are written to: no
// step goes on before each has taken the last one, and at the end nothing of the
// old authority is believed.
func TestAuthority_IsReplacedWithoutAnInterruption(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	d := &durable{cluster: c, w: newWitness(t)}
	for _, m := range c.members {
		must(t, c.any().url, "group", "set", "pulse-"+m.name, "--slots", "1")
		d.pulses = append(d.pulses, startPulse(t, m))
	}
	// A member's certificate of now, as somebody may keep it.
	old := filepath.Join(t.TempDir(), "old")
	ca, err := peerca.Load(filepath.Join(c.members[0].data, "peer"))
	must0(t, err)
	must0(t, ca.Save(old))
	must0(t, ca.Issue(old, time.Now()))

	status := func(args ...string) (st api.AuthorityStatus) {
		t.Helper()
		must0(t, json.Unmarshal([]byte(must(t, c.any().url, append([]string{"cluster", "rotate-ca", "-o", "json"}, args...)...)), &st))
		return st
	}
	taken := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			for _, m := range status().Members {
				if m.Todo != "" {
					return false
				}
			}
			return true
		})
	}
	restarted := func(what string) {
		t.Helper()
		for _, m := range c.members {
			eventually(t, m.name+" needs a restart", func() bool {
				for _, a := range status().Members {
					if strings.HasPrefix(a.Member, m.name+"-") {
						return strings.Contains(a.Todo, "restart")
					}
				}
				return false
			})
			m.terminate()
			d.writesGoOn(d.stopwatch(), m.name+" was told to end, "+what, m)
			m.restart()
			c.inTouch()
		}
	}

	begun := status("begin")
	_, errs, code := replied(t, c.any().url, "cluster", "rotate-ca", "next")
	if code != 4 {
		t.Errorf("the next step before the last was taken: exit %d", code)
	}
	wantWords(t, errs, "not every member has taken the last step", c.members[1].name+"-")
	restarted("to believe the next authority")
	taken("all believe the next authority")
	must(t, c.any().url, "cluster", "rotate-ca", "next")
	taken("all show the next authority")
	for _, m := range c.members {
		if got := c.authorityOf(m, old); got != begun.To {
			t.Errorf("%s shows a certificate of %s, want %s", m.name, got, begun.To)
		}
	}
	must(t, c.any().url, "cluster", "rotate-ca", "next")
	restarted("to believe the old authority no more")
	taken("all believe the next authority only")
	for _, m := range c.members {
		if got := c.authorityOf(m, old); got != "" {
			t.Errorf("%s believes a certificate of the old authority", m.name)
		}
	}
	if token := must(t, c.any().url, "cluster", "token"); !strings.Contains(token, begun.To) {
		t.Errorf("a join token is not of the new authority: %s", token)
	}
	for _, p := range d.pulses {
		p.end()
	}
}

// inTouch waits until all members reach each other.
func (c *cluster) inTouch() {
	c.t.Helper()
	eventually(c.t, "all are in touch", func() bool {
		for _, m := range c.shown() {
			if !m.Reachable {
				return false
			}
		}
		return true
	})
}

// authorityOf is which authority vouches for a member, as it says on its peer port
// to one that shows the certificate in a folder; empty when it lets that one go.
func (c *cluster) authorityOf(m *memberProcess, dir string) string {
	c.t.Helper()
	files := peerca.FilesIn(dir)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	must0(c.t, err)
	conn, err := tls.Dial("tcp", m.peer, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) //nolint:gosec // it is looked at below
	must0(c.t, err)
	defer conn.Close()
	must0(c.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	// In TLS 1.3 the server's verdict comes with its first answer.
	_, err = conn.Write([]byte("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		return ""
	}
	chain := conn.ConnectionState().PeerCertificates
	return peerca.Fingerprint(chain[len(chain)-1])
}
