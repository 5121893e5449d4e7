package create

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// TestSchema_AcceptsWhatBuildAccepts holds docs/bundle.schema.json against
// Build: on all of these the two agree.
func TestSchema_AcceptsWhatBuildAccepts(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../../docs/bundle.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	agree := func(text string, want bool) {
		t.Helper()
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		bySchema := schema.Validate(v)
		_, byBuild := Build(folder(t, text, map[string]string{"etc/a": "a"}), io.Discard, bundle.MaxSize)
		if (byBuild == nil) != want {
			t.Errorf("%s: Build says %v", text, byBuild)
		}
		if (bySchema == nil) != want {
			t.Errorf("%s: the schema says %v", text, bySchema)
		}
	}
	for _, text := range []string{
		"name: a", "name: a\nversion: 1.10", "name: a\nversion: 2026.11.2", "name: a\nversion: \"7\"", "name: a\ndefault_interrupt: reboot", "name: a\ndefault_interrupt: soft-reboot",
		"name: a\ndefault_interrupt: reload\nunits: [a.service, b.socket]", "name: a\nfiles: {/etc/a: {mode: \"0600\"}}", "name: a\nfiles: {/etc/a: {mode: 0600}}",
		"name: a\nfiles: {/etc/a: {owner: \"www-data:33\", interrupt: restart, units: [a.service], render: true}}", "name: a\nfiles: {/etc/a: }", "name: a\nfiles: {/etc/a: {}}",
		"name: a\ncheck: {run: nginx -t}\ncommand: {run: \"true\", timeout: 1m30s}", "name: a\nhealth: [{command: \"true\"}, {http: \"https://h/x\", timeout: 1s}, {tcp: \"h:1\"}, {unit: a.service}]",
		"name: a\nmin_healthy_time: 0s\nhealthy_deadline: 2m", "name: a\nrequires: {arch: amd64}", "name: a\nrequires: {arch: [amd64, arm64], labels: {zone: a, rack: [1, two]}, os_release: {VERSION_ID: 12}}",
	} {
		agree(text, true)
	}
	for _, text := range []string{
		"version: 1", "name: \"\"", "name: " + strings.Repeat("x", 101), "name: a\nversion: [1]", "name: a\nsurprise: 1", "name: a\ndefault_interrupt: kexec",
		"name: a\ndefault_interrupt: reload\nunits: [--now]", "name: a\nfiles: {etc/a: {}}", "name: a\nfiles: {/etc/a: {acl: x}}", "name: a\nfiles: {/etc/a: {mode: rw}}",
		"name: a\nfiles: {/etc/a: {mode: \"4755\"}}", "name: a\nfiles: {/etc/a: {owner: root}}", "name: a\nfiles: {/etc/a: {interrupt: maybe}}", "name: a\nfiles: {/etc/a: {render: 7}}",
		"name: a\ncheck: {timeout: 1s}", "name: a\ncommand: {run: \" \"}", "name: a\ncommand: {run: a, timeout: soon}", "name: a\ncommand: {run: a, user: b}",
		"name: a\nhealth: [{}]", "name: a\nhealth: [{tcp: \"h:1\", unit: a.service}]", "name: a\nhealth: [{tcp: h}]", "name: a\nhealth: [{http: \"ftp://h/\"}]", "name: a\nhealth: [{unit: -a}]",
		"name: a\nhealth: [{exec: x}]", "name: a\nhealthy_deadline: soon", "name: a\nhealthy_deadline: -5m",
		"name: a\nrequires: {}", "name: a\nrequires: {arch: x86_64}", "name: a\nrequires: {kernel: 6}", "name: a\nrequires: {labels: {zone: []}}", "name: a\nrequires: {os_release: {id: debian}}",
	} {
		agree(text, false)
	}
}
