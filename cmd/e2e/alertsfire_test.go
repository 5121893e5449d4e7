package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/create"
	"github.com/lockkeeper/lockkeeper/coordinator/fleetlock"
)

// hurried are the alerts with an hour as a second, so that a test sees them fire:
// each waits for one second (`for`), each range is ten, and in each threshold a
// day is two seconds, an hour one and a minute a tenth. When certificates end
// stays as it is.
func hurried(t *testing.T) (path string, names []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/prometheus/lockkeeper.rules.yml")
	must0(t, err)
	var out []string
	for line := range strings.Lines(string(text)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); is {
			names = append(names, name)
		}
		line = regexp.MustCompile(`\bfor: \w+`).ReplaceAllString(line, "for: 1s")
		line = regexp.MustCompile(`\[\d+[mhd]\]`).ReplaceAllString(line, "[10s]")
		if !strings.Contains(line, "certificate") {
			line = strings.NewReplacer(" * 24 * 3600", " * 2", " * 3600", "", " * 60", " * 0.1").Replace(line)
		}
		out = append(out, line)
	}
	path = filepath.Join(t.TempDir(), "hurried.rules.yml")
	must0(t, os.WriteFile(path, []byte(strings.Join(out, "")), 0o600))
	return path, names
}

// alarm is a Prometheus that is told of one cluster after another.
type alarm struct {
	url, targets string
}

func startAlarm(t *testing.T, rules string) *alarm {
	t.Helper()
	a := &alarm{targets: t.TempDir()}
	a.url = runPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: lockkeeper
    tls_config: {insecure_skip_verify: true}
    file_sd_configs: [{files: [%q], refresh_interval: 1s}]
`, rules, filepath.Join(a.targets, "*.json")))
	return a
}

// watch scrapes coordinators as one cluster.
func (a *alarm) watch(t *testing.T, job string, urls ...string) {
	t.Helper()
	scheme, _, _ := strings.Cut(urls[0], "://")
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	g := group{Labels: map[string]string{"job": job, "__scheme__": scheme}}
	for _, u := range urls {
		g.Targets = append(g.Targets, strings.TrimPrefix(u, scheme+"://"))
	}
	text, err := json.Marshal([]group{g})
	must0(t, err)
	temporary := filepath.Join(a.targets, job+".tmp")
	must0(t, os.WriteFile(temporary, text, 0o600))
	must0(t, os.Rename(temporary, filepath.Join(a.targets, job+".json")))
}

// fire waits until each of the alerts has fired for a cluster. On a busy machine
// a scrape may fail, and they need not all fire at one moment.
func (a *alarm) fire(t *testing.T, job string, names ...string) {
	t.Helper()
	missing := slices.Clone(names)
	deadline := time.Now().Add(patience)
	for {
		var answer struct {
			Data struct {
				Alerts []struct {
					State               string
					Labels, Annotations map[string]string
				}
			}
		}
		getJSON(t, a.url+"/api/v1/alerts", &answer)
		for _, f := range answer.Data.Alerts {
			if f.State != "firing" || f.Labels["job"] != job {
				continue
			}
			for _, text := range f.Annotations {
				if text == "" || strings.Contains(text, "<no value>") || strings.Contains(text, "error expanding") {
					t.Fatalf("%s says %v", f.Labels["alertname"], f.Annotations)
				}
			}
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == f.Labels["alertname"] })
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("these did not fire for %s: %s; all there is: %+v", job, strings.Join(missing, ", "), answer.Data.Alerts)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Each alert fires, in a real Prometheus, when what it is about happens to real
// coordinators and hosts.
func TestAlerts_EachFiresWhenWhatItIsAboutHappens(t *testing.T) {
	t.Parallel()
	needTool(t, "prometheus")
	rules, names := hurried(t)
	a := startAlarm(t, rules)
	shown := map[string]bool{}
	for _, c := range []struct {
		name   string
		happen func(*testing.T, *alarm, string, []string)
		alerts []string
	}{
		{"hosts", hostsInTrouble, []string{
			"LockkeeperHoldOverdue", "LockkeeperGroupStuck", "LockkeeperWaitingLong", "LockkeeperHoldSilent", "LockkeeperNodesFailed",
			"LockkeeperFrozenLong", "LockkeeperAgentVersionsDiffer", "LockkeeperNeedsAPerson", "LockkeeperRolloutHalted",
			"LockkeeperRolloutStalled", "LockkeeperApprovalWaiting", "LockkeeperRolloutPausedLong", "LockkeeperSnapshotOld",
		}},
		{"disk", diskAndCertificate, []string{
			"LockkeeperDiskLow", "LockkeeperStoreFull", "LockkeeperCertificateExpiring", "LockkeeperCertificateEnds",
		}},
		{"quota", quotaThenGone, []string{"LockkeeperStoreNearQuota", "LockkeeperDown"}},
		{"members", membersGone, []string{
			"LockkeeperCoordinatorDown", "LockkeeperCoordinatorUnreachable", "LockkeeperNoQuorum", "LockkeeperErrors",
		}},
		{"telling", nobodyTold, []string{"LockkeeperNoticesFailing", "LockkeeperSilencesFailing"}},
		{"clock", clockAndSlowDisk, []string{"LockkeeperClockOff", "LockkeeperCoordinatorVersionsDiffer", "LockkeeperStoreSlow"}},
	} {
		for _, name := range c.alerts {
			shown[name] = true
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.happen(t, a, "lockkeeper-"+c.name, c.alerts)
		})
	}
	for _, name := range names {
		if !shown[name] {
			t.Errorf("nothing that makes %s fire happens here", name)
		}
	}
}

// hostsInTrouble makes one coordinator whose hosts have every trouble there is.
func hostsInTrouble(t *testing.T, a *alarm, job string, alerts []string) {
	snapshots := filepath.Join(t.TempDir(), "snapshots")
	c := startCoordinator(t, "--snapshots-dir", snapshots, "--snapshots-every", "1s")
	a.watch(t, job, c.url)
	eventually(t, "a snapshot is there", func() bool {
		list, err := filepath.Glob(filepath.Join(snapshots, "*.snapshot"))
		return err == nil && len(list) > 0
	})
	must0(t, os.Rename(snapshots, snapshots+".gone"))
	must0(t, os.WriteFile(snapshots, nil, 0o600)) // no folder can be made here

	must(t, c.url, "group", "set", "late", "--slots", "1", "--fleetlock-hold-timeout", "1s")
	must(t, c.url, "group", "set", "full", "--slots", "1")
	must(t, c.url, "group", "set", "cold", "--slots", "1")
	must(t, c.url, "group", "set", "shut", "--slots", "0")
	must(t, c.url, "freeze", "--group", "cold", "somebody forgot")
	for id, group := range map[string]string{"late-1": "late", "full-1": "full"} {
		status, text := fleetLock(t.Context(), t, c.url, fleetlock.PreReboot, params(id, group))
		wantStatus(t, "a slot for "+id, status, text, http.StatusOK)
	}
	report := func(node string, r api.Report) *caller {
		t.Helper()
		k := newCaller(t, node, c.url)
		r.Seq, r.Healthy, r.Phase = 1, true, api.PhaseIdle
		_, err := k.Poll(t.Context(), node, api.PollRequest{Instance: node, BootID: "boot", Report: r})
		must0(t, err)
		return k
	}
	waiter := report("full-2", api.Report{Group: "full"})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		for ctx.Err() == nil {
			_, _ = waiter.Acquire(ctx, "full", "full-2", api.AcquireRequest{Instance: "full-2", Request: "first", BootID: "boot"}, 30*time.Second)
		}
	}()
	t.Cleanup(func() { leave(); <-left })
	report("old", api.Report{Group: "cold", Version: "v0.9.0"})
	report("unable", api.Report{Group: "cold", Trouble: "the disk is full"})

	good := pushBundle(t, c.url, "good", "")
	report("shut-1", api.Report{Group: "shut"})
	must(t, c.url, "rollout", "start", "--bundle", good, "--group", "shut", "--name", "stalled")
	must(t, c.url, "group", "set", "word", "--slots", "1")
	report("word-1", api.Report{Group: "word", Bundle: good})
	report("word-2", api.Report{Group: "word"})
	must(t, c.url, "rollout", "start", "--bundle", good, "--group", "word", "--name", "approval", "--wave", "1 approve")

	w := newWitness(t)
	must(t, c.url, "group", "set", "lost", "--slots", "1")
	lost := startMachine(t, w, "lost-1", c.url, "--group", "lost")
	startMachine(t, w, "host-1", c.url)
	reports(t, c.url, "lost-1")
	reports(t, c.url, "host-1")
	startRollout(t, c.url, pushBundle(t, c.url, "broken", "healthy_deadline: 2s\nhealth:\n  - command: \"false\"\n"))
	// Never healthy, so that the host is out until its power is gone.
	id := startRollout(t, c.url, pushBundle(t, c.url, "lost", "healthy_deadline: 1h\nhealth:\n  - command: \"false\"\n"), "--group", "lost")
	eventually(t, "a host is out", func() bool { return w.count(t, "down lost-1") > 0 })
	lost.powerOff()
	must(t, c.url, "rollout", "pause", id)
	a.fire(t, job, alerts...)
}

// diskAndCertificate makes a coordinator with a small disk and a certificate that
// ends in some hours.
func diskAndCertificate(t *testing.T, a *alarm, job string, alerts []string) {
	needRoot(t)
	data := t.TempDir()
	must0(t, syscall.Mount("tmpfs", data, "tmpfs", 0, "size=600m"))
	t.Cleanup(func() { must0(t, syscall.Unmount(data, syscall.MNT_DETACH)) })
	cert, key := certificate(t, 12*time.Hour)
	addr := freePort(t)
	c := startProcess(t, "lockkeeperd", program("lockkeeperd"), "serve", "--data-dir", filepath.Join(data, "data"), "--listen", addr, "--tls-cert", cert, "--tls-key", key)
	t.Cleanup(c.kill) // before its disk goes
	a.watch(t, job, "https://"+addr)
	a.fire(t, job, alerts...)
}

// certificate for loopback, as PEM files.
func certificate(t *testing.T, life time.Duration) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must0(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	must0(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	must0(t, err)
	dir := writeFiles(t, t.TempDir(), map[string]string{
		"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	})
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

// quotaThenGone fills a small store with bundles, then kills the coordinator.
func quotaThenGone(t *testing.T, a *alarm, job string, alerts []string) {
	config := writeFiles(t, t.TempDir(), map[string]string{"config.yaml": "etcd:\n  quota: 67108864\n"})
	c := startCoordinator(t, "--config", filepath.Join(config, "config.yaml"))
	a.watch(t, job, c.url)
	k := newCaller(t, "uploader", c.url)
	i := 0
	eventually(t, "the store is nearly full", func() bool {
		noise := make([]byte, 1000<<10) // that no compression makes smaller
		_, err := rand.Read(noise)
		must0(t, err)
		dir := writeFiles(t, t.TempDir(), map[string]string{
			"bundle.yaml": fmt.Sprintf("name: noise-%d\n", i), "files/etc/noise": string(noise),
		})
		i++
		var archive bytes.Buffer
		_, err = create.Build(dir, &archive, 1<<20)
		must0(t, err)
		_, _, _ = k.CreateBundle(t.Context(), &archive, "") // one that is lost on a slow disk is followed by another
		info := statusOf(t, c.url).Cluster.Store
		return info.DBSize*100 > info.Quota*72
	})
	a.fire(t, job, alerts[0])
	c.kill()
	a.fire(t, job, alerts[1])
}

// membersGone kills two of three coordinators, one after the other.
func membersGone(t *testing.T, a *alarm, job string, alerts []string) {
	c := newCluster(t, 3)
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.url)
	}
	a.watch(t, job, urls...)
	eventually(t, "all are scraped", func() bool { return promQL(t, a.url, fmt.Sprintf("sum(up{job=%q})", job)) == "3" })
	c.members[2].kill()
	a.fire(t, job, alerts[:2]...)
	c.members[1].kill()
	stop := make(chan struct{})
	asked := make(chan struct{})
	go func() { // people who try all the same
		defer close(asked)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				get(c.members[0].url + "/readyz")
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-asked })
	a.fire(t, job, alerts[2:]...)
}

// nobodyTold makes a coordinator whose Alertmanager is not there and whose webhook
// is gone for good, while rollouts end again and again.
func nobodyTold(t *testing.T, a *alarm, job string, alerts []string) {
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	t.Cleanup(gone.Close)
	config := writeFiles(t, t.TempDir(), map[string]string{"config.yaml": fmt.Sprintf(
		"silences: {alertmanager_url: %q}\nwebhooks: [{name: ops, url: %q}]\n", "http://"+freePort(t), gone.URL)})
	c := startCoordinator(t, "--config", filepath.Join(config, "config.yaml"))
	a.watch(t, job, c.url)
	status, text := fleetLock(t.Context(), t, c.url, fleetlock.PreReboot, params("out-1", "default"))
	wantStatus(t, "a slot for out-1", status, text, http.StatusOK)
	must(t, c.url, "group", "set", "shut", "--slots", "0")
	k := newCaller(t, "shut-1", c.url)
	_, err := k.Poll(t.Context(), "shut-1", api.PollRequest{Instance: "shut-1", BootID: "boot", Report: api.Report{Seq: 1, Group: "shut", Healthy: true, Phase: api.PhaseIdle}})
	must0(t, err)
	bundle := pushBundle(t, c.url, "good", "")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ops := []api.NotifySpec{{Webhook: "ops"}}
		for {
			_, _, _ = k.CreateRollout(t.Context(), api.RolloutSpec{Bundle: bundle, Group: "shut", OnHalt: ops, OnDone: ops}, "")
			all, _ := k.Rollouts(t.Context())
			for _, r := range all { // also one of which there was no answer
				if r.State.Active() {
					_, _ = k.RolloutAction(t.Context(), r.ID, "abort", api.RolloutActionRequest{})
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Second):
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	a.fire(t, job, alerts...)
}

// clockAndSlowDisk puts a coordinator on an etcd whose disk is slow, beside one of
// another version whose clock is a minute ahead: that one only says that it is
// there.
func clockAndSlowDisk(t *testing.T, a *alarm, job string, alerts []string) {
	strace := needTool(t, "strace")
	etcd, url := startEtcd(t)
	c := startCoordinator(t, "--etcd-endpoints", url)
	a.watch(t, job, c.url)
	k := newCaller(t, "web-1", c.url)
	k.poll()
	startProcess(t, "slow", strace, "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(etcd.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=700000")
	ctx, end := context.WithCancel(context.Background())
	said := make(chan error, 1)
	go func() {
		for {
			now := time.Now().UTC()
			value, err := json.Marshal(map[string]any{
				"v": 1, "id": "other", "name": "other", "version": "v9.9.9", "max_v": 99, "started_at": now, "at": now.Add(time.Minute),
			})
			if err == nil {
				err = exec.Command(etcd.args[0], "put", url, "/lockkeeper/coordinators/other", string(value)).Run()
			}
			select {
			case <-ctx.Done():
				said <- err
				return
			case <-time.After(time.Second):
			}
			if h, err := k.ask(ctx, 0); err == nil {
				_ = k.Release(ctx, "default", k.node, h.Fence, k.node)
			}
		}
	}()
	t.Cleanup(func() {
		end()
		if err := <-said; err != nil { // on a slow disk some need not arrive
			t.Logf("the other coordinator last said that it is there: %v", err)
		}
	})
	a.fire(t, job, alerts...)
}
