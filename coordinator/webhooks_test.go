package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

func TestWebhooksConfig_NamesWhatCannotBeAndNoSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("T0SECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field, detail string
		hooks         []WebhookConfig
	}{
		{"webhooks[0].name", "want a name", []WebhookConfig{{URL: "https://h/"}}},
		{"webhooks[1].name", "is there already, as webhooks[0]", []WebhookConfig{{Name: "a", URL: "https://h/"}, {Name: "a", URL: "https://h/"}}},
		{"webhooks[0].url", "want either url or url_file", []WebhookConfig{{Name: "a"}}},
		{"webhooks[0].url", "want http://", []WebhookConfig{{Name: "a", URL: "ftp://h/T0SECRET"}}},
		{"webhooks[0].url_file", "want http://", []WebhookConfig{{Name: "a", URLFile: file}}},
		{"webhooks[0].secret_file", "want whsec_", []WebhookConfig{{Name: "a", URL: "https://h/", SecretFile: file}}},
		{"webhooks[0].ca_file", "no certificate", []WebhookConfig{{Name: "a", URL: "https://h/", CAFile: file}}},
		{"webhooks[0].format", "want json, slack, teams", []WebhookConfig{{Name: "a", URL: "https://h/", Format: "xml"}}},
	} {
		cfg := DefaultConfig()
		cfg.Webhooks = c.hooks
		var found *FieldError
		if err := cfg.Validate(); !errors.As(err, &found) || found.Field != c.field || !strings.Contains(found.Detail, c.detail) || strings.Contains(err.Error(), "T0SECRET") {
			t.Errorf("%v, want %s: …%s…", err, c.field, c.detail)
		}
	}
	cfg := DefaultConfig()
	cfg.WebhookHosts = []string{"https://h/"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "webhook_hosts") {
		t.Errorf("a URL as a host: %v", err)
	}
}

func TestWebhooks_RolloutsTellWhatTheConfigurationNames(t *testing.T) {
	c := &Coordinator{doors: &doors{main: &door.Listener{}}}
	c.cfg.Webhooks = []WebhookConfig{{Name: "ops", URL: "https://hooks.example.com/T0SECRET", Format: "slack"}}
	c.cfg.WebhookHosts = []string{"*.example.com"}
	w := c.webhooks()
	for _, to := range []api.NotifySpec{{Webhook: "ops"}, {Webhook: "ops", Format: "slack"}, {URL: "https://h.example.com/x", Format: "teams"}} {
		if wrong := w.Check(to); wrong != nil {
			t.Errorf("%+v: %+v", to, wrong)
		}
	}
	for want, to := range map[string]api.NotifySpec{
		`webhook there is no webhook "dev": want one of ops`: {Webhook: "dev"},
		"format is that of the webhook":                      {Webhook: "ops", Format: "json"},
		"url evil.org is not among the hosts":                {URL: "https://evil.org/x"},
		"url 127.0.0.1:1 is not among the hosts":             {URL: "http://127.0.0.1:1/x"},
		"url want http://":                                   {URL: "h.example.com"},
		"url is an address as it is shown":                   {URL: "https://h.example.com/…"},
	} {
		wrong := w.Check(to)
		if wrong == nil || !strings.HasPrefix(wrong.Path+" "+wrong.Detail, want) {
			t.Errorf("%+v: %+v, want %s", to, wrong, want)
		}
	}
	if err := w.tell(t.Context(), rollout.Notice{Rollout: "ro-1"}, api.NotifySpec{Webhook: "dev"}); err == nil || !strings.Contains(err.Error(), "no webhook") {
		t.Errorf("told one that is configured no more: %v", err)
	}
}
