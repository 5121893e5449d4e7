package coordinator

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/coordinator/silence"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// SilencesConfig silences the alerts of hosts that are out of service.
type SilencesConfig struct {
	AlertmanagerURL string `yaml:"alertmanager_url"` // empty: off
	TokenFile       string `yaml:"token_file"`       // holds a bearer token; read again for each request
	CAFile          string `yaml:"ca_file"`          // PEM; the system's if empty
	// Matchers of a host's silence, with {node} and {label.NAME} for what they are
	// of the host; default instance=~"{node}(:.*)?".
	Matchers []string      `yaml:"matchers"`
	For      time.Duration `yaml:"for"`    // how far ahead a silence reaches, default 5m
	Linger   time.Duration `yaml:"linger"` // how long after the slot's return it ends, default 1m
}

// validate names what cannot be.
func (c *SilencesConfig) validate(bad func(field, format string, args ...any)) {
	checkService(bad, "silences.alertmanager_url", c.AlertmanagerURL, "silences.token_file", c.TokenFile)
	checkCA(bad, "silences.ca_file", c.CAFile)
	if err := silence.CheckMatchers(c.Matchers); err != nil {
		bad("silences.matchers", "%v", err)
	}
	if c.For < time.Minute || c.For > time.Hour {
		bad("silences.for", "%s: want 1m to 1h", c.For)
	}
	if c.Linger < time.Second || c.Linger > 15*time.Minute {
		bad("silences.linger", "%s: want 1s to 15m", c.Linger)
	}
}

// silencer keeps the silences, if they are configured, while this coordinator's
// engine is the elected one.
func (c *Coordinator) silencer(store semaphore.Store, nodes *fleet.Registry, engine *rollout.Engine, db *etcdstore.DB) (*silence.Silencer, error) {
	cfg := c.cfg.Silences
	if cfg.AlertmanagerURL == "" {
		return nil, nil
	}
	return silence.New(silence.Config{
		Alertmanager: ask.Service{URL: cfg.AlertmanagerURL, TokenFile: cfg.TokenFile}, CAFile: cfg.CAFile,
		Matchers: cfg.Matchers, For: cfg.For, Linger: cfg.Linger,
		Semaphores: store, Fleet: nodes.Changed, Elected: engine.Elected,
		Phase: func(node string) (api.Phase, bool) {
			r, ok := nodes.Record(node)
			return r.Report.Phase, ok
		},
		Cluster: func() string { return db.Identity().ID }, Logger: c.log, Registerer: c.registry,
	})
}
