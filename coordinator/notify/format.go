package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a body. Slack takes 3000 characters in a section's text and 2000 in
// a field, Teams 28 KB in all; what is sent stays well below.
const (
	maxTitle = 140
	maxText  = 2000
	maxFact  = 300
	maxFacts = 10
	maxBody  = 256 << 10
)

// body is a message in a format.
func body(format string, m Message) ([]byte, error) {
	var v any
	switch format {
	case JSON, "":
		v = map[string]any{"type": m.Type, "timestamp": m.At.UTC().Format(time.RFC3339Nano), "data": m.Data}
	case Slack:
		v = slack(m)
	case Teams:
		v = teams(m)
	default:
		return nil, fmt.Errorf("format %q: want %s", format, strings.Join(Formats, ", "))
	}
	text, err := json.Marshal(v)
	if err == nil && len(text) > maxBody {
		return nil, fmt.Errorf("a body of %d bytes: at most %d", len(text), maxBody)
	}
	return text, err
}

// slack is a message of an incoming webhook: text for notifications, blocks for
// the channel. https://api.slack.com/messaging/webhooks
func slack(m Message) any {
	type text map[string]any
	title, said := slackText(m.Title, maxTitle), slackText(m.Text, maxText)
	blocks := []any{text{"type": "section", "text": text{"type": "mrkdwn", "text": mark(m) + " *" + title + "*"}}}
	if said != "" {
		blocks = append(blocks, text{"type": "section", "text": text{"type": "plain_text", "text": cut(m.Text, maxText), "emoji": false}})
	}
	var fields []any
	for _, f := range few(m.Facts) {
		fields = append(fields, text{"type": "mrkdwn", "text": "*" + slackText(f.Name, maxFact) + "*\n" + slackText(f.Value, maxFact)})
	}
	if len(fields) > 0 {
		blocks = append(blocks, text{"type": "section", "fields": fields})
	}
	line := mark(m) + " " + title
	if said != "" {
		line += ": " + said
	}
	return map[string]any{"text": line, "blocks": blocks}
}

// slackText is a text that mentions nobody and links nowhere.
func slackText(s string, most int) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "∗").Replace(cut(s, most))
}

// teams is a message with an Adaptive Card, as a Teams workflow takes it. The
// texts stand in rich text blocks, which read no Markdown.
func teams(m Message) any {
	type node map[string]any
	rich := func(run node) node { return node{"type": "RichTextBlock", "inlines": []any{run}} }
	colour := "Good"
	if m.Grave {
		colour = "Attention"
	}
	card := []any{rich(node{"type": "TextRun", "text": mark(m) + " " + cut(m.Title, maxTitle), "size": "Medium", "weight": "Bolder", "color": colour})}
	if m.Text != "" {
		card = append(card, rich(node{"type": "TextRun", "text": cut(m.Text, maxText)}))
	}
	var facts []any
	for _, f := range few(m.Facts) {
		facts = append(facts, node{"title": cut(f.Name, maxFact), "value": cut(f.Value, maxFact)})
	}
	if len(facts) > 0 {
		card = append(card, node{"type": "FactSet", "facts": facts})
	}
	return node{"type": "message", "attachments": []any{node{
		"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil,
		"content": node{
			"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
			"msteams": node{"width": "Full"}, "body": card,
		},
	}}}
}

func mark(m Message) string {
	if m.Grave {
		return "⛔"
	}
	return "✅"
}

func few(facts []Fact) []Fact {
	kept := []Fact{}
	for _, f := range facts {
		if f.Value != "" && len(kept) < maxFacts {
			kept = append(kept, f)
		}
	}
	return kept
}

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
