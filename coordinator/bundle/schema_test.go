package bundle

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// change makes another manifest of the one with all members.
type change func(m, file map[string]any)

func set(name string, v any) change     { return func(m, _ map[string]any) { m[name] = v } }
func setFile(name string, v any) change { return func(_, f map[string]any) { f[name] = v } }
func del(name string) change            { return func(m, _ map[string]any) { delete(m, name) } }
func delFile(name string) change        { return func(_, f map[string]any) { delete(f, name) } }

func command(run, timeout any) map[string]any { return map[string]any{"run": run, "timeout": timeout} }

func probe(pairs ...any) change {
	p := map[string]any{"timeout": "1s"}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i].(string)] = pairs[i+1]
	}
	return set("health", []any{p})
}

func requires(name string, v any) change { return set("requires", map[string]any{name: v}) }

// everything is the text of a manifest with every member, changed.
func everything(t *testing.T, c change) []byte {
	t.Helper()
	return manifest(t, func(m, f map[string]any) {
		m["version"] = "1.10"
		m["requires"] = map[string]any{"arch": []string{"amd64"}, "labels": map[string]any{"zone": []string{"a", "b"}}, "os_release": map[string]any{"ID": []string{"debian"}}}
		m["check"], m["command"] = command("nginx -t", "10s"), command("true", "1m30s")
		m["health"] = []any{
			map[string]any{"command": "true", "timeout": "1s"}, map[string]any{"http": "http://127.0.0.1/", "timeout": "1s"},
			map[string]any{"tcp": "127.0.0.1:80", "timeout": "1s"}, map[string]any{"unit": "a@b.service", "timeout": "1s"},
		}
		f["owner"], f["interrupt"], f["units"], f["render"] = "root:0", "reload", []string{"a.service"}, true
		if c != nil {
			c(m, f)
		}
	})
}

// TestSchema_AcceptsWhatTheParserAccepts holds docs/bundle-manifest.schema.json
// against ParseManifest: on all of these the two agree.
func TestSchema_AcceptsWhatTheParserAccepts(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/bundle-manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	agree := func(name string, c change, want bool) {
		t.Helper()
		text := everything(t, c)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		bySchema := schema.Validate(v)
		_, byParser := ParseManifest(text)
		if (byParser == nil) != want {
			t.Errorf("%s: the parser says %v", name, byParser)
		}
		if (bySchema == nil) != want {
			t.Errorf("%s: the schema says %v", name, bySchema)
		}
	}
	long := strings.Repeat("x", 101)
	for name, c := range map[string]change{
		"everything": nil, "no version": del("version"), "no requires": del("requires"), "no check": del("check"), "no command": del("command"),
		"no health": del("health"), "no time to be healthy": del("min_healthy_time"), "no owner": delFile("owner"), "not rendered": delFile("render"),
		"a name of other letters": set("name", "größe → 7"), "durations": set("healthy_deadline", "1h2m3.5s"), "reboot": func(_, f map[string]any) { f["interrupt"] = "reboot"; delete(f, "units") },
		"soft-reboot": func(_, f map[string]any) { f["interrupt"] = "soft-reboot"; delete(f, "units") }, "none": func(_, f map[string]any) { f["interrupt"] = "none"; delete(f, "units") },
		"hidden file": setFile("path", "/etc/.hidden/..a/...b"), "empty owner": setFile("owner", ""), "https": probe("http", "https://h:1/x?y"),
		"large file": func(_, f map[string]any) { f["size"] = MaxLinked; delete(f, "render") },
	} {
		agree(name, c, true)
	}
	refused := map[string]change{
		"v": set("v", 2), "no v": del("v"), "no name": del("name"), "empty name": set("name", ""), "long name": set("name", long), "name of two lines": set("name", "a\nb"),
		"name with a space of another width": set("name", "a\u00a0b"), "version": set("version", long), "version as a number": set("version", 1.1),
		"unknown": set("surprise", 1), "unknown of a file": setFile("acl", "x"), "no files": set("files", []any{}), "no deadline": del("healthy_deadline"),
		"requires nothing": set("requires", map[string]any{}), "arch": requires("arch", []string{"x86_64"}), "label without values": requires("labels", map[string]any{"a": []string{}}),
		"label without a name": requires("labels", map[string]any{"": []string{"a"}}), "value of two lines": requires("labels", map[string]any{"a": []string{"b\nc"}}),
		"os-release": requires("os_release", map[string]any{"id": []string{"debian"}}), "requires unknown": requires("kernel", "6"),
		"relative path": setFile("path", "etc/a"), "path with ..": setFile("path", "/etc/../a"), "path with .": setFile("path", "/etc/./a"), "path at its end ..": setFile("path", "/etc/.."),
		"path with //": setFile("path", "/etc//a"), "path with / at its end": setFile("path", "/etc/"), "the root": setFile("path", "/"), "no path": delFile("path"), "long path": setFile("path", "/"+strings.Repeat("a", 1024)),
		"mode": setFile("mode", "4755"), "mode as a number": setFile("mode", 644), "no mode": delFile("mode"), "owner": setFile("owner", "root"), "owner with a space": setFile("owner", "a b:c"),
		"size": setFile("size", -1), "huge": setFile("size", MaxLinked+1), "large and rendered": setFile("size", MaxSize+1), "digest": setFile("sha256", "AB"), "no digest": delFile("sha256"),
		"interrupt": setFile("interrupt", "kexec"), "no interrupt": delFile("interrupt"), "reload of nothing": delFile("units"), "reload of no units": setFile("units", []string{}),
		"units with reboot": setFile("interrupt", "reboot"), "a unit that is an option": setFile("units", []string{"--now"}), "render as a text": setFile("render", "yes"),
		"check of nothing": set("check", command(" ", "1s")), "check without timeout": set("check", map[string]any{"run": "true"}), "command with a number": set("command", command("true", 60)),
		"command unknown": set("command", map[string]any{"run": "true", "timeout": "1s", "user": "x"}), "long command": set("command", command(strings.Repeat("x", 16385), "1s")),
		"probe of nothing": probe(), "probe of two": probe("tcp", "h:1", "unit", "a.service"), "probe unknown": probe("exec", "x"), "probe of an ftp URL": probe("http", "ftp://h/"),
		"probe without a host": probe("http", "http:///x"), "probe without a port": probe("tcp", "h"), "probe of no unit": probe("unit", "-a"), "probe without a timeout": set("health", []any{map[string]any{"tcp": "h:1"}}),
		"duration": set("healthy_deadline", "soon"), "duration as a number": set("healthy_deadline", 60), "negative": set("healthy_deadline", "-5m"),
	}
	for name, c := range refused {
		agree(name, c, false)
	}
	// What a schema cannot say.
	for name, c := range map[string]change{
		"too long to be healthy": set("min_healthy_time", "2m"), "too long a timeout": set("command", command("true", "2h")),
		"a file as a folder": func(m, f map[string]any) { m["files"] = []any{f, with(f, "/etc/a/b")} }, "out of order": func(m, f map[string]any) { m["files"] = []any{with(f, "/z"), f} },
	} {
		text := everything(t, c)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(text); err == nil || schema.Validate(v) != nil {
			t.Errorf("%s: parser %v, schema %v: it belongs to another list", name, err, schema.Validate(v))
		}
	}
}

// TestSchema_AcceptsWhatEncodeWrites: the schema is of real manifests.
func TestSchema_AcceptsWhatEncodeWrites(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/bundle-manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(encoded(t))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
}
