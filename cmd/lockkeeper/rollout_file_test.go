package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestRolloutFile_ErrorsNameThePlaceThePathAndWhatIsAccepted(t *testing.T) {
	for text, want := range map[string]string{
		"bundle: aa\nwaves:\n  - cuont: 1\n":              "3:5: waves[0].cuont: unknown field; want one of name, count, percent, selector, soak, gates, max_failures",
		"bundle: aa\ngates:\n- promql:\n    querry: up\n": "4:5: gates[0].promql.querry: unknown field; want one of url, query, compare, value, for",
		`{"bundle":"aa","groups":"web"}`:                  "1:16: groups: unknown field; want one of name, bundle",
		"waves:\n- count: 1.5":                            `2:10: waves[0].count: "1.5" does not belong here: want a whole number`,
		"waves:\n- percent: 10%":                          `2:12: waves[0].percent: "10%" does not belong here: want a whole number`,
		"grow: {factor: much}":                            `1:16: grow.factor: "much" does not belong here: want a number`,
		"needs_reboot: perhaps":                           `1:15: needs_reboot: "perhaps" does not belong here: want true or false`,
		"nodes: web1":                                     `1:8: nodes: "web1" does not belong here: want a list`,
		"order: zone":                                     `1:8: order: "zone" does not belong here: want names with values: by_label, spread, oldest_uptime`,
		"bundle: {name: x}":                               "bundle: a map does not belong here: want a text",
		"max_failures: [1]":                               "1:15: max_failures: want a number such as 2, or a percentage such as 5%",
		"start: tomorrow":                                 `1:8: start: time "tomorrow": want one with its offset`,
		"start: 2026-12-24 18:00:00":                      "1:8: start: time ",
		"bundle: aa\nbundle: bb\n":                        `2:1: mapping key "bundle" already defined at [1:1]`,
		"bundle: [\n":                                     "1:",
		"- bundle: aa\n":                                  "1:1: a list does not belong here: want names with values: name, bundle",
		"bundle: aa\n---\nbundle: bb\n":                   "1:1: 2 documents: want one, a rollout",
		"":                                                "1:1: no rollout: want ",
	} {
		_, err := parseRollout([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Each member of the wire types can be said in a file, as YAML and as JSON.
func TestRolloutFile_HasEveryMemberOfTheAPI(t *testing.T) {
	var spec api.RolloutSpec
	fillValue(t, reflect.ValueOf(&spec).Elem())
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	yamlText, err := yamlOf(spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"JSON": text, "YAML": yamlText} {
		f, err := parseRollout(text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if !reflect.DeepEqual(f.spec, spec) {
			t.Errorf("%s: read as\n%+v\nwant\n%+v", name, f.spec, spec)
		}
	}
}

// fillValue gives each field a value of its own that is not the zero one.
func fillValue(t *testing.T, v reflect.Value) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(noon))
		return
	case v.Type() == reflect.TypeFor[api.Slots]():
		v.SetString("7%")
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text: of #its \"own\"")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillValue(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i))
		}
	default:
		t.Fatalf("no value for a %s", v.Kind())
	}
}

func TestWaveFlag_IsReadStrictly(t *testing.T) {
	for text, want := range map[string]api.WaveSpec{
		"1":      {Count: 1},
		"10%":    {Percent: 10},
		"zone=a": {Selector: "zone=a"},
		"rest":   {},
		"2 soak=10m max-failures=5% approve name=two canaries": {
			Name: "two canaries", Count: 2, Soak: "10m", MaxFailures: "5%",
			Gates: []api.GateSpec{{Name: "approval", Approval: &api.ApprovalGate{}}},
		},
	} {
		got, err := parseWave(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "101%", "some", "1 soak", "1 soak=-1s", "1 soak=1m soak=2m", "1 max-failures=x", "1 2", "1 name="} {
		if w, err := parseWave(text); err == nil || !strings.Contains(err.Error(), "want \"SIZE ") {
			t.Errorf("%q: %+v, %v, want an error that says the form", text, w, err)
		}
	}
}

func TestWaveFlags_WhatIsLeftIsALastWave(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--wave", "1", "--wave", "10%", "--soak", "5m"}, `[{"count":1,"soak":"5m"},{"percent":10,"soak":"5m"},{}]`},
		{[]string{"--wave", "1 soak=1m", "--wave", "rest", "--soak", "5m"}, `[{"count":1,"soak":"1m"},{"soak":"5m"}]`},
		{[]string{"--wave", "1", "--wave", "100%"}, `[{"count":1},{"percent":100}]`},
		{[]string{"--wave", "zone=a"}, `[{"selector":"zone=a"},{}]`},
		{nil, `null`},
	} {
		f := &fake{}
		newShell(f).run(t, append([]string{"rollout", "start", "--bundle", strings.Repeat("ab", 32), "--group", "web"}, c.args...)...).want(t, exitOK)
		if got, _ := json.Marshal(f.started.Waves); string(got) != c.want {
			t.Errorf("%q: waves %s, want %s", c.args, got, c.want)
		}
	}
	for _, args := range [][]string{
		{"--wave", "1", "--grow", "2"}, {"--wave", "rest", "--wave", "1"}, {"--soak", "5m"}, {"--grow", "1"}, {"--wave", "1", "--soak", "0s"},
		{"--time-zone", "UTC"}, {"--not-before", "soon"}, {"--window", "never"}, {"--key", "k"}, {"--max-failures", "x"}, {"--timeout", "1h"},
	} {
		newShell(&fake{}).run(t, append([]string{"rollout", "start", "--bundle", "abcd", "--group", "web"}, args...)...).want(t, exitUsage)
	}
}

func TestRolloutStart_AFlagAddsToAFileAndNeverOverridesIt(t *testing.T) {
	const text = "bundle: " + "abababababababababababababababababababababababababababababababab" + "\ngroup: web\nmax_failures: 2\nwaves: [{count: 1}, {}]\non_halt: [{webhook: a}]\n"
	s := func(args ...string) (*fake, result) {
		f := &fake{}
		shell := newShell(f)
		shell.stdin = text
		return f, shell.run(t, append([]string{"rollout", "start", "-f", "-"}, args...)...)
	}
	f, r := s("--selector", "zone=a", "--reason", "CVE", "--rollback", "all")
	r.want(t, exitOK)
	if f.started.MaxFailures != "2" || f.started.Selector != "zone=a" || f.started.Group != "web" || f.started.Reason != "CVE" ||
		f.started.AutoRollback != api.RollbackAll || len(f.started.Waves) != 2 {
		t.Errorf("started %+v", f.started)
	}
	for flag, both := range map[string]string{
		"--bundle=cd": "--bundle and bundle", "--dir=x": "--dir and bundle", "--group=web": "--group and group", "--max-failures=2": "--max-failures and max_failures",
		"--wave=1": "--wave and waves", "--grow=2": "--grow and waves", "--soak=1m": "--soak and waves", "--notify=b": "--notify and on_halt",
	} {
		_, r := s(flag)
		r.want(t, exitUsage, both+" of standard input both say it")
	}
}

func TestRolloutStart_WhatTheCoordinatorFindsWrongIsShownInTheFile(t *testing.T) {
	refused := api.Errorf(api.Invalid, "waves[1].soak: too long")
	refused.Fields = []api.FieldError{{Path: "waves[1].soak", Detail: "too long"}}
	f := &fake{err: []error{refused}}
	s := newShell(f)
	s.stdin = "bundle: " + strings.Repeat("ab", 32) + "\ngroup: web\nwaves:\n  - count: 1\n  - percent: 50\n    soak: 9000h\n"
	s.run(t, "rollout", "start", "-f", "-").want(t, exitUsage, "standard input:6:11: ", "waves[1].soak: too long")
}

func TestRolloutStart_TakesABundleByItsNameAndVersion(t *testing.T) {
	f := &fake{bundles: []api.Bundle{
		{Digest: strings.Repeat("ab", 32), Name: "base", Version: "6.12"}, {Digest: strings.Repeat("cd", 32), Name: "base", Version: "6.13"},
		{Digest: strings.Repeat("ef", 32), Name: "motd"},
	}}
	for word, digest := range map[string]string{"base:6.13": "cd", "motd": "ef", "ABAB": "ab", "sha256:cdcd": "cd"} {
		newShell(f).run(t, "rollout", "start", "--bundle", word, "--group", "web").want(t, exitOK)
		if f.started.Bundle != strings.Repeat(digest, 32) {
			t.Errorf("%s: started %s", word, f.started.Bundle)
		}
	}
	newShell(f).run(t, "rollout", "start", "--bundle", "base", "--group", "web").want(t, exitUsage, "2 bundles are called base: want a digest, of abababababab 6.12, cdcdcdcdcdcd 6.13")
	newShell(f).run(t, "rollout", "start", "--bundle", "base:7", "--group", "web").want(t, exitNotFound, `no bundle "base:7"`)
}
