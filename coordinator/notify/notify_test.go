package notify

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

var (
	noon   = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	halted = Message{
		ID: "ro-1.7", Type: "rollout.halted", At: noon, Grave: true,
		Title: "Rollout kernel halted", Text: "2 nodes failed, 1 may: <!channel> web7 *really* [failed](http://x)",
		Facts: []Fact{{"Failed", "2 of 40"}, {"Wave", ""}}, Data: map[string]any{"rollout": "ro-1"},
	}
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The example of the specification's reference libraries.
func TestSignature_IsThatOfStandardWebhooks(t *testing.T) {
	secrets, err := ParseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	if err != nil {
		t.Fatal(err)
	}
	got := signature(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
}

func TestSend_SignsByEverySecretWhatArrives(t *testing.T) {
	const two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n"
	var body []byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	s := Sender{Now: func() time.Time { return noon }}
	if err := s.Send(t.Context(), Hook{URL: server.URL, SecretFile: file(t, two)}, halted); err != nil {
		t.Fatal(err)
	}
	secrets, _ := ParseSecrets(two)
	if want := signature(secrets, "ro-1.7", fmt.Sprint(noon.Unix()), body); header.Get("webhook-signature") != want || strings.Count(want, "v1,") != 2 {
		t.Errorf("signature %q, want %q", header.Get("webhook-signature"), want)
	}
	if header.Get("webhook-id") != "ro-1.7" || header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", header)
	}
	if want := `{"data":{"rollout":"ro-1"},"timestamp":"2026-11-27T12:00:00Z","type":"rollout.halted"}`; string(body) != want {
		t.Errorf("body %s, want %s", body, want)
	}
}

func TestBody_OfSlackMentionsNobodyAndOfTeamsReadsNoMarkdown(t *testing.T) {
	text, err := body(Slack, halted)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Text   string
		Blocks []struct {
			Type   string
			Text   struct{ Type, Text string }
			Fields []struct{ Type, Text string }
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.Text, "<!") || !strings.Contains(s.Text, "&lt;!channel&gt;") {
		t.Errorf("text %q mentions a channel", s.Text)
	}
	if len(s.Blocks) != 3 || s.Blocks[1].Text.Type != "plain_text" || s.Blocks[1].Text.Text != halted.Text ||
		len(s.Blocks[2].Fields) != 1 || s.Blocks[2].Fields[0].Text != "*Failed*\n2 of 40" {
		t.Errorf("blocks %+v", s.Blocks)
	}

	text, err = body(Teams, halted)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type, Version string
				Body          []struct {
					Type    string
					Inlines []struct{ Text, Color string }
					Facts   []struct{ Title, Value string }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	card := m.Attachments[0]
	if m.Type != "message" || card.ContentType != "application/vnd.microsoft.card.adaptive" || card.Content.Type != "AdaptiveCard" {
		t.Errorf("message %+v", m)
	}
	for _, b := range card.Content.Body[:2] {
		if b.Type != "RichTextBlock" {
			t.Errorf("a text stands in a %s, which reads Markdown", b.Type)
		}
	}
	if b := card.Content.Body; b[0].Inlines[0].Color != "Attention" || b[1].Inlines[0].Text != halted.Text || b[2].Facts[0].Value != "2 of 40" {
		t.Errorf("body %+v", b)
	}
}

func TestBody_StaysWithinWhatSlackAndTeamsTake(t *testing.T) {
	long := halted
	long.Title, long.Text = strings.Repeat("ä", 5000), strings.Repeat("ö", 50_000)
	for range 30 {
		long.Facts = append(long.Facts, Fact{strings.Repeat("n", 900), strings.Repeat("v", 3000)})
	}
	for _, format := range []string{Slack, Teams} {
		text, err := body(format, long)
		if err != nil || len(text) > 28<<10 {
			t.Errorf("%s: %d bytes, %v", format, len(text), err)
		}
	}
}

// failed sends once and wants a failure that does not tell the URL.
func failed(t *testing.T, h Hook) *Failure {
	t.Helper()
	var f *Failure
	err := (&Sender{Now: func() time.Time { return noon }}).Send(t.Context(), h, halted)
	if !errors.As(err, &f) {
		t.Fatalf("sent: %v, want a failure", err)
	}
	if strings.Contains(f.Detail, "T0SECRET") {
		t.Errorf("the failure tells the URL's secret: %s", f.Detail)
	}
	return f
}

func TestSend_TellsWhatTheOtherSideDid(t *testing.T) {
	reached := false
	mux := http.NewServeMux()
	answer := func(path string, status int, header ...string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write(make([]byte, 1<<20)) // more than anybody reads
		})
	}
	answer("/500/T0SECRET", 500)
	answer("/429/T0SECRET", 429, "Retry-After", "120")
	answer("/503/T0SECRET", 503, "Retry-After", noon.Add(90*time.Second).Format(http.TimeFormat))
	answer("/long/T0SECRET", 503, "Retry-After", "99999999999")
	answer("/410/T0SECRET", 410)
	answer("/302/T0SECRET", 302, "Location", "/elsewhere")
	answer("/200/T0SECRET", 200)
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { reached = true })
	server := httptest.NewServer(mux)
	defer server.Close()

	for path, want := range map[string]Failure{
		"/500":  {Detail: "answered 500 Internal Server Error"},
		"/429":  {Detail: "answered 429", After: 2 * time.Minute},
		"/503":  {Detail: "answered 503", After: 90 * time.Second},
		"/long": {Detail: "answered 503", After: maxRetryAfter},
		"/410":  {Detail: "is no more", Final: true},
		"/302":  {Detail: "not followed"},
	} {
		f := failed(t, Hook{URL: server.URL + path + "/T0SECRET"})
		if !strings.Contains(f.Detail, want.Detail) || f.After != want.After || f.Final != want.Final {
			t.Errorf("%s: %+v, want %+v", path, *f, want)
		}
	}
	if reached {
		t.Error("a redirect was followed")
	}
	if err := (&Sender{}).Send(t.Context(), Hook{URL: server.URL + "/200/T0SECRET"}, halted); err != nil {
		t.Errorf("a long answer of 200: %v", err)
	}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	if f := failed(t, Hook{URL: "http://" + address + "/T0SECRET"}); !strings.Contains(f.Detail, "refused") || f.Final {
		t.Errorf("nobody listens: %+v", *f)
	}
}

func TestSend_OfOneThatNeverAnswersEndsWithItsContext(t *testing.T) {
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
		close(gone)
	}))
	defer server.Close()
	if err := (&Sender{}).Send(ctx, Hook{URL: server.URL}, halted); err == nil {
		t.Error("sent")
	}
	<-gone
}

func TestSend_TrustsTheAuthorityThatTheHookNames(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	server.Config.ErrorLog = nil
	if f := failed(t, Hook{URL: server.URL + "/T0SECRET"}); !strings.Contains(f.Detail, "certificate") {
		t.Errorf("an unknown authority: %+v", *f)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := (&Sender{}).Send(t.Context(), Hook{URL: server.URL, CAFile: file(t, string(ca))}, halted); err != nil {
		t.Error(err)
	}
}

func TestSend_KeepsStrangersFromLinkLocalAddresses(t *testing.T) {
	for _, target := range []string{"http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/"} {
		if f := failed(t, Hook{URL: target, Stranger: true}); !strings.Contains(f.Detail, "link-local") {
			t.Errorf("%s: %+v", target, *f)
		}
	}
}

func TestCheck_NamesTheFieldAndNeverTheSecret(t *testing.T) {
	good := file(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	for name, h := range map[string]Hook{
		"url: want either": {}, "url: want either ": {URL: "https://h/", URLFile: good},
		"url: want http://":  {URL: "ftp://h/T0SECRET"},
		"url: has a user":    {URL: "https://u:T0SECRET@h/"},
		"url: is no URL":     {URL: "https://h:T0SECRET/%zz"},
		"url: has a frag":    {URL: "https://h/#T0SECRET"},
		"url_file: ":         {URLFile: "/nonexistent"},
		"url_file: want":     {URLFile: file(t, "T0SECRET")},
		"url_file: /":        {URLFile: file(t, " \n")},
		"secret_file: sec":   {URL: "https://h/", SecretFile: file(t, "T0SECRET")},
		"secret_file: 5":     {URL: "https://h/", SecretFile: file(t, strings.Repeat("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 5))},
		"ca_file: ":          {URL: "https://h/", CAFile: good},
		`format: "xml": wan`: {URL: "https://h/", Format: "xml"},
	} {
		err := h.Check()
		if err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(name)) || strings.Contains(err.Error(), "T0SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Hook{URLFile: file(t, "https://h/T0SECRET\n"), SecretFile: good, Format: Slack}).Check(); err != nil {
		t.Error(err)
	}
	if got := Shown("https://hooks.example.com:8443/T0SECRET?k=1"); got != "https://hooks.example.com:8443" {
		t.Errorf("shown as %q", got)
	}
	secrets, _ := ParseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if got := fmt.Sprint(secrets[0]); got != "secret" {
		t.Errorf("a secret prints as %q", got)
	}
}

func TestAgain_GrowsToHalfAnHourAndEndsAfterTwelve(t *testing.T) {
	now, tries := noon, 0
	for {
		tries++
		next, ok := Again(noon, tries, errors.New("down"), now, 0)
		if !ok {
			break
		}
		pause := next.Sub(now)
		if want := min(15*time.Minute, 2500*time.Millisecond<<min(tries-1, 20)); pause != want {
			t.Errorf("pause %s after %d tries, want %s", pause, tries, want)
		}
		now = next
	}
	if took := now.Sub(noon); took < GiveUpAfter || took > GiveUpAfter+maxPause || tries > 60 {
		t.Errorf("gave up after %s and %d tries", took, tries)
	}
	if next, _ := Again(noon, 1, &Failure{After: time.Hour}, noon, 1); !next.Equal(noon.Add(time.Hour)) {
		t.Errorf("an hour was asked for, tried again at %s", next)
	}
	if next, _ := Again(noon, 3, nil, noon, 1); !next.Equal(noon.Add(20 * time.Second)) {
		t.Errorf("with all of the jitter at %s", next)
	}
	if _, ok := Again(noon, 1, &Failure{Final: true}, noon, 0); ok {
		t.Error("tried again though it is gone")
	}
}
