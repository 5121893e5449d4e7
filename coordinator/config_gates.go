package coordinator

import (
	"os"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

// GatesConfig says what gates of rollouts may ask. Whoever may start a rollout
// writes them, so that nothing else is asked.
type GatesConfig struct {
	// URLs that gates without one use. Their hosts may be asked.
	PrometheusURL   string `yaml:"prometheus_url"`
	AlertmanagerURL string `yaml:"alertmanager_url"`
	// Files with a bearer token for each. They are read again for each question,
	// and the tokens are sent nowhere but below those URLs.
	PrometheusTokenFile   string `yaml:"prometheus_token_file"`
	AlertmanagerTokenFile string `yaml:"alertmanager_token_file"`
	// CAFile has PEM certificates; without one the system's are trusted.
	CAFile string `yaml:"ca_file"`
	// Allow has further hosts, as web.example.com, 10.0.0.5:9090 or *.example.com.
	// A coordinator that listens on this host only may ask this host too.
	Allow []string `yaml:"allow"`
	// Commands are the absolute paths of programs that gates may run here.
	Commands []string `yaml:"commands"`
	// AlertmanagerSettle is how long an Alertmanager must have been up to be
	// believed that nothing fires; default 2m.
	AlertmanagerSettle time.Duration `yaml:"alertmanager_settle"`
}

// validate names what cannot be.
func (c *GatesConfig) validate(bad func(field, format string, args ...any)) {
	checkService(bad, "gates.prometheus_url", c.PrometheusURL, "gates.prometheus_token_file", c.PrometheusTokenFile)
	checkService(bad, "gates.alertmanager_url", c.AlertmanagerURL, "gates.alertmanager_token_file", c.AlertmanagerTokenFile)
	checkCA(bad, "gates.ca_file", c.CAFile)
	for _, pattern := range c.Allow {
		if err := ask.CheckPattern(pattern); err != nil {
			bad("gates.allow", "%v", err)
		}
	}
	for _, program := range c.Commands {
		if err := gate.CheckCommand(program); err != nil {
			bad("gates.commands", "%v", err)
		}
	}
	if c.AlertmanagerSettle < time.Millisecond || c.AlertmanagerSettle > time.Hour {
		bad("gates.alertmanager_settle", "%s: want 1ms to 1h", c.AlertmanagerSettle)
	}
}

// checkService checks the URL of a service and the file with its token.
func checkService(bad func(field, format string, args ...any), field, url, fileField, file string) {
	if url == "" {
		if file != "" {
			bad(fileField, "goes with %s", field)
		}
		return
	}
	switch u, err := ask.CheckURL(url); {
	case err != nil:
		bad(field, "%v", err)
	case u.RawQuery != "":
		bad(field, "has a query behind ?: want only where the service is")
	}
	checkReadable(bad, fileField, file)
}

func checkCA(bad func(field, format string, args ...any), field, file string) {
	if file == "" {
		return
	}
	if _, err := ask.ReadCA(file); err != nil {
		bad(field, "%v", err)
	}
}

// checkReadable refuses a file that cannot be read at the start. Its content may
// change later.
func checkReadable(bad func(field, format string, args ...any), field, file string) {
	if file == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		bad(field, "%v", err)
		return
	}
	_ = f.Close()
}

// checker of gates. A coordinator that listens on this host only is one whose
// users are there already.
func (c *Coordinator) checker() *gate.Checker {
	g := c.cfg.Gates
	return gate.New(gate.Config{
		Prometheus:   ask.Service{URL: g.PrometheusURL, TokenFile: g.PrometheusTokenFile},
		Alertmanager: ask.Service{URL: g.AlertmanagerURL, TokenFile: g.AlertmanagerTokenFile},
		Allow:        g.Allow, Loopback: c.doors.loopback, CAFile: g.CAFile, Commands: g.Commands, Settle: g.AlertmanagerSettle,
	})
}
