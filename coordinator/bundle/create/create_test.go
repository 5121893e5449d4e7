package create

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// folder makes a source folder of bundle.yaml and files.
func folder(t *testing.T, yaml string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if yaml != "" {
		write(t, filepath.Join(dir, "bundle.yaml"), yaml)
	}
	for p, text := range files {
		write(t, filepath.Join(dir, "files", p), text)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const full = `
name: web 7
version: 1.10
requires:
  arch: [amd64, arm64]
  labels: {role: web}
  os_release: {ID: debian, VERSION_ID: ["12", 13]}
default_interrupt: restart
units: [web.service]
files:
  /etc/web.conf: {mode: 0600, owner: "root:root", render: true}
  /etc/motd: {interrupt: none}
  /boot/cmdline: {interrupt: reboot}
check: {run: test -s $LOCKKEEPER_STAGED/etc/web.conf, timeout: 5s}
command: {run: "true"}
health:
  - command: "true"
  - http: http://127.0.0.1:8080/healthz
    timeout: 2s
  - tcp: 127.0.0.1:22
  - unit: web.service
min_healthy_time: 3s
healthy_deadline: 2m
`

var fullFiles = map[string]string{"etc/web.conf": "zone {{label.zone}}\n", "etc/motd": "hi\n", "boot/cmdline": "quiet\n"}

func TestBuild_ReadsTheSourceFolder(t *testing.T) {
	var out bytes.Buffer
	m, err := Build(folder(t, full, fullFiles), &out, bundle.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "web 7" || m.Greatest() != bundle.InterruptReboot || len(m.Files) != 3 || len(m.Health) != 4 {
		t.Errorf("manifest %+v", m)
	}
	want := &bundle.Requires{
		Arch: []string{"amd64", "arm64"}, Labels: map[string][]string{"role": {"web"}},
		OSRelease: map[string][]string{"ID": {"debian"}, "VERSION_ID": {"12", "13"}},
	}
	if diff := cmp.Diff(want, m.Requires); diff != "" || m.Version != "1.10" || m.Health[3].Unit != "web.service" {
		t.Errorf("version %q, last probe %s, requires (-want +got):\n%s", m.Version, m.Health[3], diff)
	}
	web := m.Files[2]
	if web.Path != "/etc/web.conf" || web.Mode != "0600" || !web.Render || web.Interrupt != bundle.InterruptRestart || len(web.Units) != 1 {
		t.Errorf("file %+v", web)
	}
	if m.Files[1].Interrupt != bundle.InterruptNone || m.Files[1].Units != nil {
		t.Errorf("file %+v", m.Files[1])
	}
	if motd, err := b.Content("/etc/motd"); err != nil || string(motd) != "hi\n" {
		t.Errorf("content %q, %v", motd, err)
	}
	if m.Command.Timeout != bundle.DefaultCommandTimeout {
		t.Errorf("command %+v", m.Command)
	}
}

func TestBuild_MinHealthyTimeIsTheDefaultWhenLeftOutAndZeroWhenWritten(t *testing.T) {
	one := map[string]string{"etc/a": "a"}
	for text, want := range map[string][2]bundle.Duration{
		"":                       {bundle.DefaultMinHealthyTime, bundle.DefaultHealthyDeadline},
		"min_healthy_time: 0s\n": {0, bundle.DefaultHealthyDeadline},
		"min_healthy_time: 1m\n": {bundle.Duration(time.Minute), bundle.DefaultHealthyDeadline},
		"healthy_deadline: 2m\n": {bundle.DefaultMinHealthyTime, bundle.Duration(2 * time.Minute)},
		"healthy_deadline: 3s\n": {bundle.Duration(1500 * time.Millisecond), bundle.Duration(3 * time.Second)},
	} {
		var out bytes.Buffer
		m, err := Build(folder(t, "name: a\n"+text, one), &out, bundle.MaxSize)
		if err != nil || m.MinHealthyTime != want[0] || m.HealthyDeadline != want[1] {
			t.Errorf("%q: %s and %s, %v, want %s", text, m.MinHealthyTime, m.HealthyDeadline, err, want)
		}
	}
	var out bytes.Buffer
	if _, err := Build(folder(t, "name: a\nhealthy_deadline: 0s\n", one), &out, bundle.MaxSize); err == nil || !strings.Contains(err.Error(), "healthy_deadline") {
		t.Errorf("a deadline of 0s: %v", err)
	}
}

func TestBuild_TheDigestDependsOnPathsContentAndTheManifestAlone(t *testing.T) {
	digest := func(dir string) string {
		var out bytes.Buffer
		if _, err := Build(dir, &out, bundle.MaxSize); err != nil {
			t.Fatal(err)
		}
		return bundle.Digest(out.Bytes())
	}
	tool := filepath.Join("files", "boot", "cmdline")
	one := folder(t, full, fullFiles)
	if err := os.Chmod(filepath.Join(one, tool), 0o755); err != nil {
		t.Fatal(err)
	}

	// The same again by somebody else: other order, umask, times, owner.
	umask := syscall.Umask(0o077)
	defer syscall.Umask(umask)
	two := t.TempDir()
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(fullFiles))) {
		write(t, filepath.Join(two, "files", p), fullFiles[p])
	}
	write(t, filepath.Join(two, "bundle.yaml"), full)
	if err := os.Chmod(filepath.Join(two, tool), 0o711); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(two, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && os.Getuid() == 0 {
			err = os.Chown(name, 1234, 4321)
		}
		return errors.Join(err, os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := digest(one), digest(two); a != b {
		t.Errorf("digests %s and %s", a, b)
	}

	in := func(dir, name string) string { return filepath.Join(dir, "files", "etc", name) }
	for name, change := range map[string]func(dir string) error{
		"content":        func(dir string) error { return os.WriteFile(in(dir, "a"), []byte("B"), 0o600) },
		"path":           func(dir string) error { return os.Rename(in(dir, "a"), in(dir, "b")) },
		"executable bit": func(dir string) error { return os.Chmod(in(dir, "a"), 0o700) },
		"manifest": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte("name: b"), 0o600)
		},
	} {
		dir := folder(t, "name: a", map[string]string{"etc/a": "A"})
		before := digest(dir)
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if digest(dir) == before {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func TestBuild_SaysWhatIsWrongInTheSource(t *testing.T) {
	one := map[string]string{"etc/a": "a"}
	for name, c := range map[string]struct {
		dir  func(t *testing.T) string
		want string
	}{
		"no bundle.yaml":                  {func(t *testing.T) string { return folder(t, "", one) }, "bundle.yaml is missing"},
		"no files":                        {func(t *testing.T) string { return folder(t, "name: x", nil) }, "files is missing"},
		"empty files":                     {func(t *testing.T) string { d := folder(t, "name: x", nil); mkdir(t, d, "files"); return d }, "1 to 1000"},
		"unknown key":                     {func(t *testing.T) string { return folder(t, "name: x\nprot: 1", one) }, "bundle.yaml:2:1: prot: unknown field; want one of name, version, requires, "},
		"a second document":               {func(t *testing.T) string { return folder(t, "name: x\n---\nname: y\n", one) }, "several documents"},
		"key twice":                       {func(t *testing.T) string { return folder(t, "name: x\nname: y", one) }, "2:1"},
		"a key nearly right":              {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/a: {intrrupt: none}}", one) }, "2:18: files./etc/a.intrrupt: unknown field; want one of mode, owner, interrupt, units, render; did you mean interrupt?"},
		"a list where a map belongs":      {func(t *testing.T) string { return folder(t, "name: x\nfiles: [/etc/a]", one) }, "files: a list does not belong here: want names with values"},
		"no name":                         {func(t *testing.T) string { return folder(t, "units: []", one) }, "printable"},
		"entry without content":           {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/b: {}}", one) }, "/etc/b"},
		"requires of a word nobody knows": {func(t *testing.T) string { return folder(t, "name: x\nrequires: {kernel: 6}", one) }, "requires.kernel: unknown field; want one of arch, labels, os_release"},
		"a version that is a list":        {func(t *testing.T) string { return folder(t, "name: x\nversion: [1]", one) }, "plain or quoted text"},
		"a word nobody knows":             {func(t *testing.T) string { return folder(t, "name: x\ndefault_interrupt: maybe", one) }, "accepted: none, reload, restart, soft-reboot, reboot"},
		"bad duration":                    {func(t *testing.T) string { return folder(t, "name: x\ncommand: {run: a, timeout: soon}", one) }, "want a duration such as"},
		"bad mode":                        {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/a: {mode: rw}}", one) }, "0000 to 0777"},
		"symbolic link":                   {linked, "symbolic link"},
		"too large": {func(t *testing.T) string {
			return folder(t, "name: x", map[string]string{"a": strings.Repeat("x", bundle.MaxSize+1)})
		}, "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			_, err := Build(c.dir(t), &out, bundle.MaxSize)
			var e *api.Error
			if !errors.As(err, &e) || !strings.Contains(e.Detail, c.want) || !strings.Contains(e.Detail, "accepted: ") && !strings.Contains(e.Detail, "want ") {
				t.Errorf("got %v, want one that says %q and what is accepted", err, c.want)
			}
			if out.Len() != 0 {
				t.Error("something was written")
			}
		})
	}
}

func mkdir(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
}

func linked(t *testing.T) string {
	t.Helper()
	dir := folder(t, "name: x", map[string]string{"etc/a": "a"})
	if err := os.Symlink("/etc/shadow", filepath.Join(dir, "files", "etc", "b")); err != nil {
		t.Fatal(err)
	}
	return dir
}
