package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

const schemaBundle = `"bundle":"abababababababababababababababababababababababababababababababab"`

func accepted(text string) error {
	f, err := parseRollout([]byte(text))
	if err != nil {
		return err
	}
	if err := rollout.Validate(f.spec); err != nil {
		return err
	}
	return nil
}

// TestSchema_AcceptsWhatTheCoordinatorAccepts holds docs/rollout.schema.json
// against what reads a file and what validates a spec: on all of these they agree.
func TestSchema_AcceptsWhatTheCoordinatorAccepts(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/rollout.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	agree := func(text string, want bool) {
		t.Helper()
		text = "{" + schemaBundle + "," + text + "}"
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if byParser := accepted(text); (byParser == nil) != want {
			t.Errorf("%s: the parser says %v", text, byParser)
		}
		if bySchema := schema.Validate(v); (bySchema == nil) != want {
			t.Errorf("%s: the schema says %v", text, bySchema)
		}
	}
	group := func(more string) string { return `"group":"web",` + more }
	gate := func(text string) string { return group(`"gates":[` + text + `]`) }
	for _, text := range []string{
		`"group":"web"`, `"selector":"zone=a, role=web"`, `"nodes":["a","b"]`, `"group":"web","selector":"zone=a"`,
		group(`"waves":[{"count":1,"soak":"10m"},{"percent":50,"max_failures":"5%"},{"selector":"zone=a"},{}]`),
		group(`"waves":[{"name":"all","gates":[{"approval":{}}]}]`), group(`"grow":{}`), group(`"grow":{"start":2,"factor":1.5,"soak":"1m","max_failures":1}`),
		group(`"order":{"by_label":"rack","oldest_uptime":true}`), group(`"order":{"spread":"zone"}`),
		group(`"start":"2026-12-24T18:00:00+01:00"`), group(`"windows":[{"weekdays":["mon-fri"],"start":"22:00","duration":"4h","cutoff":"30m","time_zone":"Europe/Berlin"}]`),
		group(`"windows":[{"cron":"0 3 * * sun","duration":"2h"}]`),
		group(`"max_failures":3`), group(`"max_failures":"100%"`), group(`"max_failures":"0%"`), group(`"max_failures":"7"`),
		group(`"min_healthy_time":"1m","healthy_deadline":"1h30m","progress_deadline":"2.5h"`), group(`"auto_rollback":"failed_wave"`),
		group(`"joining":"include","conflict":"supersede","needs_reboot":true`), `"nodes":["a"],"joining":"exclude"`,
		group(`"on_halt":[{"webhook":"ops"},{"url":"https://h/x","format":"teams"}],"on_done":[]`),
		gate(`{"name":"a","promql":{"query":"up","compare":"==","value":1,"for":"5m"},"every":"10s","timeout":"1s","deadline":"1h"},{"name":"b","alertmanager":{}}`),
		gate(`{"http":{"url":"http://h/","status":[200,204],"json_path":"$.status","equals":"ok"}}`), gate(`{"command":{"command":["true"]}}`),
		gate(`{"approval":{"role":"admin","count":2,"expires":"24h","not_starter":true}}`),
	} {
		agree(text, true)
	}
	for _, text := range []string{
		`"group":"web","surprise":1`, `"name":"x"`, `"group":"a b"`, `"group":"web","nodes":["a"]`, `"selector":"zone"`, `"selector":"=a"`, `"nodes":["a","a"]`, `"nodes":[""]`,
		`"nodes":["a"],"joining":"include"`, group(`"joining":"maybe"`), group(`"conflict":"win"`), group(`"needs_reboot":"yes"`),
		group(`"waves":[{"count":-1}]`), group(`"waves":[{"percent":101}]`), group(`"waves":[{"count":1,"percent":10}]`), group(`"waves":[{"cuont":1}]`),
		group(`"waves":[{"soak":"soon"}]`), group(`"waves":[{"soak":10}]`), group(`"waves":[{"max_failures":-1}]`), group(`"waves":[{"max_failures":"101%"}]`), group(`"waves":[{"selector":"zone"}]`),
		group(`"waves":[{}],"grow":{}`), group(`"grow":{"start":-1}`), group(`"grow":{"factor":1}`), group(`"grow":{"factor":101}`),
		group(`"order":{"by_label":"a","spread":"b"}`), group(`"order":"zone"`), group(`"start":5`),
		group(`"windows":[{"start":"22:00"}]`), group(`"windows":[{"start":"25:00","duration":"1h"}]`),
		group(`"max_failures":"many"`), group(`"max_failures":1.5`), group(`"max_failures":-1`), group(`"auto_rollback":"some"`), group(`"min_healthy_time":"1d"`), group(`"healthy_deadline":"-5m"`),
		group(`"on_halt":[{}]`), group(`"on_halt":[{"webhook":"a","url":"https://h/"}]`), group(`"on_done":[{"webhook":"a","format":"xml"}]`),
		gate(`{}`), gate(`{"approval":{},"command":{"command":["true"]}}`), gate(`{"approval":{"role":"viewer"}}`), gate(`{"approval":{"count":11}}`),
		gate(`{"prom":{}}`), gate(`{"promql":{"query":"up","compare":"==","value":"1"}}`), gate(`{"approval":{},"deadline":"never"}`),
	} {
		agree(text, false)
	}
	// What a schema cannot say.
	for _, text := range []string{
		group(`"waves":[{},{"count":1}]`), group(`"waves":[{"count":2},{"count":1},{}]`), group(`"min_healthy_time":"1h","healthy_deadline":"1m"`),
		gate(`{"name":"a","approval":{}},{"name":"a","approval":{}}`), group(`"windows":[{"start":"22:00","duration":"4h","time_zone":"Mars"}]`),
	} {
		text = "{" + schemaBundle + "," + text + "}"
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if accepted(text) == nil || schema.Validate(v) != nil {
			t.Errorf("%s: parser %v, schema %v: it belongs to another list", text, accepted(text), schema.Validate(v))
		}
	}
}

// TestSchema_HasTheMembersOfTheAPI: no more and no fewer, at any depth.
func TestSchema_HasTheMembersOfTheAPI(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/rollout.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path string, s *jsonschema.Schema, of reflect.Type)
	walk = func(path string, s *jsonschema.Schema, of reflect.Type) {
		for s.Ref != nil {
			s = s.Ref
		}
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			if of.Kind() == reflect.Slice {
				s = s.Items2020
				for s.Ref != nil {
					s = s.Ref
				}
			}
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || len(s.Properties) == 0 {
			return
		}
		for i, name := range wire.Members(of) {
			p := s.Properties[name]
			if p == nil {
				t.Errorf("the schema lacks %s.%s", path, name)
				continue
			}
			walk(path+"."+name, p, of.Field(i).Type)
		}
		if len(s.Properties) != of.NumField() {
			t.Errorf("the schema has %d members of %s, the API %d", len(s.Properties), path, of.NumField())
		}
	}
	walk("", schema, reflect.TypeFor[api.RolloutSpec]())
}
