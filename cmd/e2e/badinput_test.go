package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// refused runs lockkeeperd, which must end by itself, and returns what it said.
func refused(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	out, err := exec.Command(program("lockkeeperd"), args...).CombinedOutput()
	if err == nil {
		t.Fatalf("lockkeeperd %s: ended well, want exit %d\n%s", strings.Join(args, " "), wantCode, out)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != wantCode {
		t.Fatalf("lockkeeperd %s: %v, want exit %d\n%s", strings.Join(args, " "), err, wantCode, out)
	}
	return string(out)
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the message does not say %q:\n%s", w, text)
		}
	}
}

func TestServe_AnUnknownConfigKeyIsNamedWithItsPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "lockkeeperd.yaml")
	must0(t, os.WriteFile(file, []byte("listen: 127.0.0.1:0\nfleetlock:\n  wiat: 5s\n"), 0o600))
	out := refused(t, 2, "serve", "--config", file, "--data-dir", filepath.Join(dir, "data"))
	wantWords(t, out, file, ":3:3: ", "did you mean wait?", "wiat")
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a data dir was made all the same")
	}
}

func TestServe_AnUnknownFlagIsAUsageError(t *testing.T) {
	t.Parallel()
	wantWords(t, refused(t, 2, "serve", "--lisen", "127.0.0.1:0"), "--lisen")
}

func TestServe_ABadEnvironmentVariableIsNamed(t *testing.T) {
	t.Setenv("LOCKKEEPER_FLEETLOCK_WAIT", "soon")
	wantWords(t, refused(t, 2, "serve"), "LOCKKEEPER_FLEETLOCK_WAIT", "soon")
}

func TestServe_APortInUseIsSaid(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must0(t, err)
	defer l.Close()
	out := refused(t, 1, "serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", l.Addr().String())
	wantWords(t, out, l.Addr().String(), "in use")
}

func TestServe_AnAddressOffLoopbackWithoutTLSIsRefusedWithTheWayOn(t *testing.T) {
	t.Parallel()
	out := refused(t, 2, "serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", "0.0.0.0:0")
	wantWords(t, out, "0.0.0.0:0", "TLS", "--tls-self-signed")
}

// A supervisor takes 2 for a mistake that starting again does not mend.
func TestServe_AnAddressThatIsNoneIsAMistake(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for _, address := range []string{"nonsense", "127.0.0.1:http99", "127.0.0.1:99999", "unix:relative"} {
		wantWords(t, refused(t, 2, "serve", "--data-dir", data, "--listen", address), address, "want")
	}
	wantWords(t, refused(t, 1, "serve", "--data-dir", data, "--listen", "192.0.2.1:0", "--tls-self-signed"), "192.0.2.1")
	if _, err := os.Stat(data); err == nil {
		t.Error("a data dir was made all the same")
	}
}

func TestServe_AFileOfTheSettingsThatCannotBeUsedIsAMistake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad, nowhere := filepath.Join(dir, "bad.pem"), filepath.Join(dir, "nowhere.pem")
	must0(t, os.WriteFile(bad, []byte("garbage\n"), 0o600))
	etcd := []string{"--etcd-endpoints", "https://127.0.0.1:1"}
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--tls-cert", nowhere, "--tls-key", bad}, []string{nowhere, "no such file", "--tls-cert"}},
		{[]string{"--tls-cert", bad, "--tls-key", bad}, []string{bad, "PEM"}},
		{append([]string{"--etcd-ca", nowhere}, etcd...), []string{"etcd.ca", nowhere}},
		{append([]string{"--etcd-ca", bad}, etcd...), []string{"etcd.ca", bad, "PEM"}},
		{append([]string{"--etcd-cert", bad, "--etcd-key", bad}, etcd...), []string{"etcd.cert", "PEM"}},
		{append([]string{"--etcd-username", "u", "--etcd-password-file", nowhere}, etcd...), []string{"etcd.password_file", nowhere}},
		{[]string{"--gates-prometheus-url", "http://127.0.0.1:1", "--gates-ca-file", bad}, []string{"--gates-ca-file", bad}},
		{[]string{"--config", nowhere}, []string{nowhere}},
		{[]string{"--listen", "unix:" + bad}, []string{bad, "something else"}},
	} {
		args := append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}, c.args...)
		wantWords(t, refused(t, 2, args...), c.words...)
	}
}

func TestServe_ABadSettingIsNamedByTheFlagOrVariableItCameFrom(t *testing.T) {
	wantWords(t, refused(t, 2, "serve", "--log-level", "loud"), "--log-level", "loud", "want")
	t.Setenv("LOCKKEEPER_LOG_LEVEL", "loud")
	out := refused(t, 2, "serve")
	wantWords(t, out, "LOCKKEEPER_LOG_LEVEL", "loud", "want")
	if strings.Contains(out, "log.level") || strings.Contains(out, "--log-level") {
		t.Errorf("it names what nobody wrote: %s", out)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	must0(t, os.WriteFile(file, []byte("log:\n  format: xml\n"), 0o600))
	wantWords(t, refused(t, 2, "serve", "--config", file), "LOCKKEEPER_LOG_LEVEL", "log.format", "xml")
}

func TestServe_AConfigOfCommentsLeavesTheDefaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	must0(t, os.WriteFile(file, []byte("# nothing yet\n"), 0o600))
	startCoordinator(t, "--config", file)
}

func TestServe_SettingsInASecondDocumentAreNotLeftOutSilently(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	must0(t, os.WriteFile(file, []byte("log:\n  format: text\n---\nrequire_token: true\n"), 0o600))
	wantWords(t, refused(t, 2, "serve", "--config", file), file, "several documents", "want one")
}

func TestServe_AnUnwritableDataDirIsSaid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must0(t, os.WriteFile(file, nil, 0o600))
	dir := filepath.Join(file, "data")
	wantWords(t, refused(t, 1, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0"), dir)
}

func TestServe_ASecondProcessOnTheSameDataDirIsRefused(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "shared")
	c := startCoordinator(t, "--data-dir", data)
	out := refused(t, 1, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
	wantWords(t, out, data, "in use")
	if status, _ := get(c.url + "/readyz"); status != 200 {
		t.Errorf("the first coordinator is disturbed: readyz %d", status)
	}
}

func TestServe_AFolderOfSomebodyElseIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"thesis.tex": "mine"})
	wantWords(t, refused(t, 2, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0"), dir)
	entries, err := os.ReadDir(dir)
	must0(t, err)
	if len(entries) != 1 {
		t.Errorf("the folder was changed: %v", entries)
	}
}

func TestCLI_BadBundlesAreRefusedAndNothingIsStored(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	for name, files := range map[string]map[string]string{
		"no manifest":     {"files/etc/motd": "x"},
		"unknown key":     {"bundle.yaml": "name: a\nfilse: {}\n", "files/etc/motd": "x"},
		"relative path":   {"bundle.yaml": "name: a\nfiles:\n  ../etc/motd: {interrupt: none}\n", "files/etc/motd": "x"},
		"bad interrupt":   {"bundle.yaml": "name: a\ndefault_interrupt: explode\n", "files/etc/motd": "x"},
		"nothing in it":   {"bundle.yaml": "name: a\n"},
		"unused settings": {"bundle.yaml": "name: a\nfiles:\n  /etc/other: {interrupt: none}\n", "files/etc/motd": "x"},
	} {
		out, errs, code := lockkeeper(t, c.url, "bundle", "create", writeFiles(t, t.TempDir(), files))
		if code == 0 || errs == "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want an error", name, code, out, errs)
		}
	}
	link := writeFiles(t, t.TempDir(), map[string]string{"bundle.yaml": "name: a\n", "files/etc/motd": "x"})
	must0(t, os.Symlink("/etc/passwd", filepath.Join(link, "files/etc/passwd")))
	if _, errs, code := lockkeeper(t, c.url, "bundle", "create", link); code == 0 || !strings.Contains(errs, "passwd") {
		t.Errorf("symlink: exit %d, %q; want it refused by name", code, errs)
	}
	if out := must(t, c.url, "bundle", "list", "-o", "json"); strings.Contains(out, "digest") {
		t.Errorf("bundles were stored: %s", out)
	}
}
