package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/lockkeeper/lockkeeper/coordinator/door"
	"github.com/lockkeeper/lockkeeper/coordinator/silence"
	"github.com/lockkeeper/lockkeeper/internal/strict"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Config is the coordinator's configuration: the file's form, and what flags
// and environment fill in. The zero value of a field means its default.
type Config struct {
	// DataDir holds the store. It is made when absent; one that holds anything
	// else is refused.
	DataDir string `yaml:"data_dir"`
	// Listen is HOST:PORT or unix:PATH, default 127.0.0.1:8080. Anything but
	// loopback and unix needs TLS, and then every request a token.
	Listen string `yaml:"listen"`
	// Name of the coordinator, and of its member of the store, which gets a
	// random suffix. Default: the host name.
	Name string `yaml:"name"`
	// Hosts are the names and addresses by which clients call this
	// coordinator, beside loopback: a request for any other is refused.
	Hosts []string  `yaml:"hosts"`
	TLS   TLSConfig `yaml:"tls"`
	// RequireToken asks for a token on loopback too, for hosts with several users.
	RequireToken bool `yaml:"require_token"`
	// AutoCreateGroups makes an unknown group, with 0 slots, when a node asks
	// for it, instead of refusing the node.
	AutoCreateGroups bool            `yaml:"auto_create_groups"`
	FleetLock        FleetLockConfig `yaml:"fleetlock"`
	Limits           LimitsConfig    `yaml:"limits"`
	Etcd             EtcdConfig      `yaml:"etcd"`
	Peer             PeerConfig      `yaml:"peer"`
	Join             JoinConfig      `yaml:"join"`
	Snapshots        SnapshotsConfig `yaml:"snapshots"`
	Events           EventsConfig    `yaml:"events"`
	Gates            GatesConfig     `yaml:"gates"`
	Silences         SilencesConfig  `yaml:"silences"`
	// Webhooks are told of rollouts that name them.
	Webhooks []WebhookConfig `yaml:"webhooks"`
	// WebhookHosts are where a rollout's own URL may lead, as web.example.com,
	// 10.0.0.5:9090 or *.example.com. A coordinator that listens on this host only
	// may send to this host too.
	WebhookHosts []string  `yaml:"webhook_hosts"`
	Log          LogConfig `yaml:"log"`
}

// TLSConfig names the listener's certificate.
type TLSConfig struct {
	Cert       string `yaml:"cert"` // PEM file; read again when it changes
	Key        string `yaml:"key"`
	SelfSigned bool   `yaml:"self_signed"` // make one in the data dir; its pin is printed
}

// FleetLockConfig is about hosts that speak the FleetLock protocol. They can
// send no token, so off loopback they get a listener of their own.
type FleetLockConfig struct {
	Listen        string             `yaml:"listen"` // HOST:PORT, off by default
	Wait          time.Duration      `yaml:"wait"`   // how long a request is parked, default 25s
	Networks      []FleetLockNetwork `yaml:"networks"`
	KnownIDsOnly  bool               `yaml:"known_ids_only"`
	StrictAddress bool               `yaml:"strict_address"` // refuse an id that asks from a second address
}

// FleetLockNetwork lets hosts of a network into groups.
type FleetLockNetwork struct {
	CIDR   string   `yaml:"cidr"`
	Groups []string `yaml:"groups"`
}

// LimitsConfig bounds what one client, a token or an address without one, has
// in progress at once, so that a flood of one leaves room for the others.
type LimitsConfig struct {
	Requests int `yaml:"requests"` // being carried out, default 256
	Waiting  int `yaml:"waiting"`  // that may wait: long polls, streams, acquires; default 20000
}

// maxLimit bounds the limits themselves.
const maxLimit = 1_000_000

// EtcdConfig tunes the embedded store, or names an existing etcd: with
// endpoints nothing is embedded.
type EtcdConfig struct {
	Quota     int64         `yaml:"quota"`     // bytes, default 2 GiB; an existing etcd from 3.6 on says its own
	Heartbeat time.Duration `yaml:"heartbeat"` // default 100ms
	Election  time.Duration `yaml:"election"`  // default 1s

	// Endpoints of an existing etcd, as https://etcd-1.example.com:2379. Several
	// coordinators with the same endpoints and prefix are one cluster.
	Endpoints []string `yaml:"endpoints"`
	Prefix    string   `yaml:"prefix"`   // of all keys there, default /lockkeeper/
	Insecure  bool     `yaml:"insecure"` // allow http beyond this host
	// CA, Cert and Key are PEM files for https; without a CA the system's are
	// trusted. They are read again for each new connection.
	CA           string `yaml:"ca"`
	Cert         string `yaml:"cert"`
	Key          string `yaml:"key"`
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // the first line's end is cut off
	// MaxTxnOps is the existing etcd's --max-txn-ops, default 128.
	MaxTxnOps int `yaml:"max_txn_ops"`
}

// External reports whether an existing etcd is used.
func (c EtcdConfig) External() bool { return len(c.Endpoints) > 0 }

// LogConfig says how to log.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // text (default), json
}

// DefaultConfig is the configuration of a coordinator that was told nothing.
func DefaultConfig() Config {
	return Config{
		DataDir:   defaultDataDir(),
		Listen:    "127.0.0.1:8080",
		FleetLock: FleetLockConfig{Wait: 25 * time.Second},
		Limits:    LimitsConfig{Requests: door.DefaultRequests, Waiting: door.DefaultWaiting},
		Etcd:      EtcdConfig{Quota: 2 << 30, Heartbeat: 100 * time.Millisecond, Election: time.Second},
		Snapshots: SnapshotsConfig{Every: time.Hour, Keep: 48},
		Events:    defaultEvents(),
		Gates:     GatesConfig{AlertmanagerSettle: 2 * time.Minute},
		Silences:  SilencesConfig{Matchers: []string{silence.DefaultMatcher}, For: silence.DefaultFor, Linger: silence.DefaultLinger},
		Log:       LogConfig{Level: "info", Format: "text"},
	}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	def := DefaultConfig()
	fill(&c.DataDir, def.DataDir)
	fill(&c.Listen, def.Listen)
	fill(&c.Limits.Requests, def.Limits.Requests)
	fill(&c.Limits.Waiting, def.Limits.Waiting)
	fill(&c.Etcd.Quota, def.Etcd.Quota)
	fill(&c.Etcd.Heartbeat, def.Etcd.Heartbeat)
	fill(&c.Etcd.Election, def.Etcd.Election)
	fill(&c.Snapshots.Every, def.Snapshots.Every)
	fill(&c.Snapshots.Keep, def.Snapshots.Keep)
	fill(&c.Events.MaxCount, def.Events.MaxCount)
	fill(&c.Events.MaxAge, def.Events.MaxAge)
	fill(&c.Gates.AlertmanagerSettle, def.Gates.AlertmanagerSettle)
	fill(&c.Silences.For, def.Silences.For)
	fill(&c.Silences.Linger, def.Silences.Linger)
	if len(c.Silences.Matchers) == 0 {
		c.Silences.Matchers = def.Silences.Matchers
	}
	fill(&c.Log.Level, def.Log.Level)
	fill(&c.Log.Format, def.Log.Format)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// defaultDataDir is the system's place for root, else the user's own.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/lockkeeper"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "lockkeeper")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "lockkeeper-data"
	}
	return filepath.Join(home, ".local", "state", "lockkeeper")
}

// configForm is how Config is written in the file. Values in it may be secrets.
var configForm = strict.Form{Tag: "yaml", Hide: true, Leaf: map[reflect.Type]func(ast.Node) string{
	reflect.TypeFor[time.Duration](): strict.Duration,
}}

// ReadConfig reads a YAML file over what cfg holds already. An unknown key, and a
// value of another kind, is an error that names its line, column and path, and
// what is accepted there.
func ReadConfig(path string, cfg *Config) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	// Without the source lines: they may hold secrets.
	bad := func(err error) error {
		return fmt.Errorf("config %s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return bad(err)
	}
	// Settings behind a second "---" would be left out without a word.
	if len(tree.Docs) > 1 {
		return fmt.Errorf("config %s: it has several documents, which a line \"---\" separates: want one", path)
	}
	// The decoder would make nothing but zeros of a file of comments.
	var says any
	if err := yaml.Unmarshal(text, &says); err == nil && says == nil {
		return nil
	}
	for _, doc := range tree.Docs {
		if err := configForm.Check(reflect.TypeFor[Config](), doc.Body, ""); err != nil {
			return fmt.Errorf("config %s:%w", path, err)
		}
	}
	if err := yaml.UnmarshalWithOptions(text, cfg, yaml.Strict()); err != nil {
		return bad(err)
	}
	return nil
}

// FieldError is a field of the configuration that cannot be: which one, by its
// path in the file, and why.
type FieldError struct{ Field, Detail string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// Validate names every field that cannot be, and what would be accepted.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
	if c.DataDir == "" {
		bad("data_dir", "must name a folder")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("tls", "cert and key belong together")
	}
	if c.TLS.SelfSigned && c.TLS.Cert != "" {
		bad("tls", "either cert and key, or self_signed")
	}
	if c.Limits.Requests < 1 || c.Limits.Requests > maxLimit {
		bad("limits.requests", "%d: want 1 to %d", c.Limits.Requests, maxLimit)
	}
	if c.Limits.Waiting < 1 || c.Limits.Waiting > maxLimit {
		bad("limits.waiting", "%d: want 1 to %d", c.Limits.Waiting, maxLimit)
	}
	if c.FleetLock.Wait < 0 || c.FleetLock.Wait > 25*time.Minute {
		bad("fleetlock.wait", "%s: want 0s to 25m", c.FleetLock.Wait)
	}
	if c.FleetLock.Listen != "" && len(c.FleetLock.Networks) == 0 {
		bad("fleetlock.networks", "a FleetLock listener needs the networks that may use it, with their groups")
	}
	for i, n := range c.FleetLock.Networks {
		field := fmt.Sprintf("fleetlock.networks[%d]", i)
		if _, err := netip.ParsePrefix(n.CIDR); err != nil {
			bad(field+".cidr", "%q: want a network such as 10.1.0.0/16", n.CIDR)
		}
		if len(n.Groups) == 0 {
			bad(field+".groups", "name at least one group")
		}
		for _, g := range n.Groups {
			if err := semaphore.ValidGroup(g); err != nil {
				bad(field+".groups", "%v", err)
			}
		}
	}
	c.Etcd.validate(bad)
	c.validatePeer(bad)
	if len(c.Name) > 63 {
		bad("name", "%q: want at most 63 characters", c.Name)
	}
	c.Snapshots.validate(c.DataDir, c.Etcd.External(), bad)
	c.Events.validate(bad)
	c.Gates.validate(bad)
	c.validateWebhooks(bad)
	c.Silences.validate(bad)
	if _, err := logLevel(c.Log.Level); err != nil {
		bad("log.level", "%v", err)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q: want text or json", c.Log.Format)
	}
	return errors.Join(errs...)
}
