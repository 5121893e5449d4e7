package create

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
min_healthy_time: 3s
healthy_deadline: 2m
`

var fullFiles = map[string]string{"etc/web.conf": "zone {{label.zone}}\n", "etc/motd": "hi\n", "boot/cmdline": "quiet\n"}

func TestBuild_ReadsTheSourceFolder(t *testing.T) {
	var out bytes.Buffer
	m, err := Build(folder(t, full, fullFiles), &out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(&out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "web 7" || m.Greatest() != bundle.InterruptReboot || len(m.Files) != 3 || len(m.Health) != 3 {
		t.Errorf("manifest %+v", m)
	}
	web := m.Files[2]
	if web.Path != "/etc/web.conf" || web.Mode != "0600" || !web.Render || web.Interrupt != bundle.InterruptRestart || len(web.Units) != 1 {
		t.Errorf("file %+v", web)
	}
	if m.Files[1].Interrupt != bundle.InterruptNone || m.Files[1].Units != nil {
		t.Errorf("file %+v", m.Files[1])
	}
	if string(b.Content("/etc/motd")) != "hi\n" {
		t.Errorf("content %q", b.Content("/etc/motd"))
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
		m, err := Build(folder(t, "name: a\n"+text, one), &out)
		if err != nil || m.MinHealthyTime != want[0] || m.HealthyDeadline != want[1] {
			t.Errorf("%q: %s and %s, %v, want %s", text, m.MinHealthyTime, m.HealthyDeadline, err, want)
		}
	}
	var out bytes.Buffer
	if _, err := Build(folder(t, "name: a\nhealthy_deadline: 0s\n", one), &out); err == nil || !strings.Contains(err.Error(), "healthy_deadline") {
		t.Errorf("a deadline of 0s: %v", err)
	}
}

func TestBuild_TwoBuildsGiveOneDigest(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if _, err := Build(folder(t, full, fullFiles), w); err != nil {
			t.Fatal(err)
		}
	}
	if bundle.Digest(a.Bytes()) != bundle.Digest(b.Bytes()) {
		t.Error("digests differ")
	}
}

func TestBuild_SaysWhatIsWrongInTheSource(t *testing.T) {
	one := map[string]string{"etc/a": "a"}
	for name, c := range map[string]struct {
		dir  func(t *testing.T) string
		want string
	}{
		"no bundle.yaml":        {func(t *testing.T) string { return folder(t, "", one) }, "bundle.yaml is missing"},
		"no files":              {func(t *testing.T) string { return folder(t, "name: x", nil) }, "files is missing"},
		"empty files":           {func(t *testing.T) string { d := folder(t, "name: x", nil); mkdir(t, d, "files"); return d }, "1 to 1000"},
		"unknown key":           {func(t *testing.T) string { return folder(t, "name: x\nprot: 1", one) }, `[2:1] unknown field "prot"`},
		"key twice":             {func(t *testing.T) string { return folder(t, "name: x\nname: y", one) }, "2:1"},
		"no name":               {func(t *testing.T) string { return folder(t, "units: []", one) }, "printable"},
		"entry without content": {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/b: {}}", one) }, "/etc/b"},
		"kexec":                 {func(t *testing.T) string { return folder(t, "name: x\ndefault_interrupt: kexec", one) }, "not carried out by this version; accepted: none, reload, restart, reboot"},
		"soft-reboot":           {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/a: {interrupt: soft-reboot}}", one) }, "not carried out"},
		"a word nobody knows":   {func(t *testing.T) string { return folder(t, "name: x\ndefault_interrupt: maybe", one) }, "accepted: none, reload, restart, reboot"},
		"bad duration":          {func(t *testing.T) string { return folder(t, "name: x\ncommand: {run: a, timeout: soon}", one) }, "want a duration such as"},
		"bad mode":              {func(t *testing.T) string { return folder(t, "name: x\nfiles: {/etc/a: {mode: rw}}", one) }, "0000 to 0777"},
		"symbolic link":         {linked, "symbolic link"},
		"too large": {func(t *testing.T) string {
			return folder(t, "name: x", map[string]string{"a": strings.Repeat("x", bundle.MaxSize+1)})
		}, "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			_, err := Build(c.dir(t), &out)
			var e *api.Error
			if !errors.As(err, &e) || !strings.Contains(e.Detail, c.want) || !strings.Contains(e.Detail, "accepted: ") {
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
