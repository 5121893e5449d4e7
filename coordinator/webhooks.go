package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/notify"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// WebhookConfig is a webhook that rollouts can tell by its name.
type WebhookConfig struct {
	Name string `yaml:"name"`
	// URL, or a file with it: it is often a secret itself.
	URL     string `yaml:"url"`
	URLFile string `yaml:"url_file"`
	// SecretFile has the secrets that sign what is sent, one a line, as the Standard
	// Webhooks specification writes them; none: it is not signed.
	SecretFile string `yaml:"secret_file"`
	Format     string `yaml:"format"` // json (default), slack, teams
	// CAFile has PEM certificates; without one the system's are trusted.
	CAFile string `yaml:"ca_file"`
}

const maxWebhooks = 100

func (w *WebhookConfig) hook() notify.Hook {
	return notify.Hook{URL: w.URL, URLFile: w.URLFile, SecretFile: w.SecretFile, CAFile: w.CAFile, Format: w.Format}
}

// validateWebhooks names what cannot be.
func (c *Config) validateWebhooks(bad func(field, format string, args ...any)) {
	if len(c.Webhooks) > maxWebhooks {
		bad("webhooks", "%d: want at most %d", len(c.Webhooks), maxWebhooks)
	}
	names := map[string]int{}
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		field := fmt.Sprintf("webhooks[%d]", i)
		if w.Name == "" || len(w.Name) > 100 || strings.ContainsAny(w.Name, ", \t\n") {
			bad(field+".name", "%q: want a name of 1 to 100 characters, without spaces and commas, by which rollouts know it", w.Name)
		}
		if first, twice := names[w.Name]; twice {
			bad(field+".name", "%q is there already, as webhooks[%d]", w.Name, first)
		}
		names[w.Name] = i
		if err := w.hook().Check(); err != nil {
			if wrong, ok := err.(*notify.FieldError); ok { //nolint:errorlint // Check returns it bare
				bad(field+"."+wrong.Field, "%s", wrong.Detail)
			} else {
				bad(field, "%v", err)
			}
		}
	}
	for _, pattern := range c.WebhookHosts {
		if err := ask.CheckPattern(pattern); err != nil {
			bad("webhook_hosts", "%v", err)
		}
	}
}

// webhooks are those that rollouts can tell.
type webhooks struct {
	named  map[string]notify.Hook
	hosts  *ask.Client // by whom a rollout's own URL is allowed
	sender notify.Sender
}

func (c *Coordinator) webhooks() *webhooks {
	w := &webhooks{
		named:  map[string]notify.Hook{},
		hosts:  ask.New(ask.Config{Allow: c.cfg.WebhookHosts, Loopback: c.doors.loopback}),
		sender: notify.Sender{Agent: "lockkeeper/" + c.version},
	}
	for i := range c.cfg.Webhooks {
		w.named[c.cfg.Webhooks[i].Name] = c.cfg.Webhooks[i].hook()
	}
	return w
}

// hook is the webhook that a rollout names. Its error is an *api.FieldError of
// the field that is wrong, and has no secrets in it.
func (w *webhooks) hook(to api.NotifySpec) (notify.Hook, *api.FieldError) {
	if to.Webhook != "" {
		h, ok := w.named[to.Webhook]
		switch {
		case !ok && len(w.named) == 0:
			return h, &api.FieldError{Path: "webhook", Detail: fmt.Sprintf("there is no webhook %q: the coordinator's configuration has none, see webhooks there", to.Webhook)}
		case !ok:
			return h, &api.FieldError{Path: "webhook", Detail: fmt.Sprintf("there is no webhook %q: want one of %s", to.Webhook, strings.Join(w.names(), ", "))}
		case to.Format != "" && to.Format != h.Format:
			return h, &api.FieldError{Path: "format", Detail: "is that of the webhook in the coordinator's configuration: leave it out"}
		}
		return h, nil
	}
	u, err := notify.ParseURL(to.URL)
	if err != nil {
		return notify.Hook{}, &api.FieldError{Path: "url", Detail: err.Error()}
	}
	if w.hosts.Allowed(u) != nil {
		return notify.Hook{}, &api.FieldError{Path: "url", Detail: fmt.Sprintf(
			"%s is not among the hosts that rollouts may send to: want one of webhook_hosts in the coordinator's configuration, or the name of a webhook there", u.Host)}
	}
	return notify.Hook{URL: to.URL, Format: to.Format, Stranger: true}, nil
}

func (w *webhooks) names() []string {
	var names []string
	for name := range w.named {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check implements service.Webhooks.
func (w *webhooks) Check(to api.NotifySpec) *api.FieldError {
	_, wrong := w.hook(to)
	return wrong
}

// tell makes one try to tell a webhook what became of a rollout.
func (w *webhooks) tell(ctx context.Context, n rollout.Notice, to api.NotifySpec) error {
	h, wrong := w.hook(to)
	if wrong != nil {
		return &notify.Failure{Detail: wrong.Detail}
	}
	return w.sender.Send(ctx, h, message(n))
}

// message is a notice for people and for programs.
func message(n rollout.Notice) notify.Message {
	name := n.Name
	if name == "" {
		name = n.Rollout
	}
	bundle := n.BundleName
	if bundle == "" {
		bundle = n.Bundle[:min(12, len(n.Bundle))]
	}
	verb := n.What
	if verb == "aborted" {
		verb = "was aborted"
	}
	return notify.Message{
		ID: n.ID(), Type: "rollout." + n.What, At: n.At, Grave: n.What != "succeeded",
		Title: fmt.Sprintf("Rollout %s %s", name, verb), Text: n.Why,
		Facts: []notify.Fact{{Name: "Rollout", Value: n.Rollout}, {Name: "Bundle", Value: bundle}, {Name: "State", Value: string(n.State)}, {Name: "Started by", Value: n.By}},
		Data: struct {
			Rollout    string           `json:"rollout"`
			Name       string           `json:"name,omitempty"`
			What       string           `json:"what"`
			State      api.RolloutState `json:"state"`
			Why        string           `json:"why,omitempty"`
			Bundle     string           `json:"bundle"`
			BundleName string           `json:"bundle_name,omitempty"`
			By         string           `json:"by,omitempty"`
		}{n.Rollout, n.Name, n.What, n.State, n.Why, n.Bundle, n.BundleName, n.By},
	}
}
