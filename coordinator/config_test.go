package coordinator

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadConfig_SaysWhereWhatIsWrongAndWhatIsAccepted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a key nearly right":        {"listen: 127.0.0.1:0\nlisten_addr: x\nlisen: y\n", ":2:1: listen_addr: unknown field; want one of data_dir, listen, name, hosts, tls, "},
		"the key that was meant":    {"lisen: y\n", ":1:1: lisen: unknown field; want one of data_dir, listen, name, hosts, tls, require_token, auto_create_groups, fleetlock, limits, etcd, peer, join, snapshots, events, gates, silences, webhooks, webhook_hosts, log; did you mean listen?"},
		"a key with a dash":         {"data-dir: /x\n", "; did you mean data_dir?"},
		"below a key":               {"gates:\n  prometheus_ulr: http://x\n", ":2:3: gates.prometheus_ulr: unknown field; want one of prometheus_url, alertmanager_url, prometheus_token_file, alertmanager_token_file, ca_file, allow, commands, alertmanager_settle; did you mean prometheus_url?"},
		"in a list":                 {"fleetlock:\n  networks:\n  - cidr: 10.0.0.0/8\n    group: web\n", ":4:5: fleetlock.networks[0].group: unknown field; want one of cidr, groups; did you mean groups?"},
		"a token is no setting":     {"join:\n  token: s3cret\n", ":2:3: join.token: unknown field; want one of servers, token_file"},
		"a text for a map":          {"etcd: s3cret\n", ":1:7: etcd: a text does not belong here: want names with values: quota, "},
		"a text for a number":       {"limits: {requests: s3cret}\n", ":1:20: limits.requests: a text does not belong here: want a whole number"},
		"half a request":            {"limits: {requests: 1.5}\n", "limits.requests: a number does not belong here: want a whole number"},
		"a text for a switch":       {"require_token: yes please\n", "require_token: a text does not belong here: want true or false"},
		"a text for a list":         {"hosts: lock-1\n", "hosts: a text does not belong here: want a list"},
		"a duration without a unit": {"snapshots: {every: 90}\n", ":1:20: snapshots.every: want a duration with its unit, such as 30s, 10m or 1h30m"},
		"several documents":         {"listen: a\n---\nlisten: b\n", "several documents"},
		"no YAML":                   {"listen: [\n", "config "},
		"a key twice":               {"listen: a\nlisten: b\n", "already defined"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "lockkeeperd.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			err := ReadConfig(file, &cfg)
			switch {
			case err == nil:
				t.Fatal("no error")
			case !strings.HasPrefix(err.Error(), "config "+file+":") || !strings.Contains(err.Error(), c.want):
				t.Errorf("got  %v\nwant %s", err, c.want)
			case strings.Contains(err.Error(), "s3cret"):
				t.Errorf("it shows a value, which may be a secret: %v", err)
			}
		})
	}
}

func TestReadConfig_ReadsWhatYAMLCanWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lockkeeperd.yaml")
	text := "\ufeff" + `# a comment
listen: &addr "127.0.0.1:0"
name: !!str 7
hosts: [*addr]
tls: {self_signed: true}
etcd:
snapshots: &often {every: 90m, keep: 3}
fleetlock:
  wait: 0s
  networks:
    - cidr: 10.0.0.0/8
      groups: [web, db]
log: {level: debug}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	if err := ReadConfig(file, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != "127.0.0.1:0" || cfg.Name != "7" || len(cfg.Hosts) != 1 || cfg.Hosts[0] != "127.0.0.1:0" || !cfg.TLS.SelfSigned ||
		cfg.Snapshots.Every != 90*time.Minute || len(cfg.FleetLock.Networks) != 1 || cfg.FleetLock.Networks[0].Groups[1] != "db" || cfg.Log.Level != "debug" {
		t.Errorf("read %+v", cfg)
	}
	if err := os.WriteFile(file, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ReadConfig(file, &cfg); err != nil || cfg.Name != "7" {
		t.Errorf("a file of comments: %v, name %q", err, cfg.Name)
	}
}

// The configuration that operating.md shows can be read, and has every key.
func TestReadConfig_ReadsWhatIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\ndata_dir:")
	text, _, found := strings.Cut("data_dir:"+rest, "```")
	file := filepath.Join(t.TempDir(), "lockkeeperd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil || !found {
		t.Fatal(err, found)
	}
	cfg := DefaultConfig()
	if err := ReadConfig(file, &cfg); err != nil {
		t.Fatal(err)
	}
	var walk func(in reflect.Type)
	walk = func(in reflect.Type) {
		for _, name := range configForm.Members(in) {
			if !strings.Contains(string(page), name+":") && !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/operating.md does not show the key %s", name)
			}
		}
		for field := range in.Fields() {
			of := field.Type
			if of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			if of.Kind() == reflect.Struct {
				walk(of)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}
