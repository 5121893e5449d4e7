package silence

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

// DefaultMatcher finds what Prometheus scrapes of a node, at any port.
const DefaultMatcher = `instance=~"{node}(:.*)?"`

// placeholder is {node}, or {label.NAME} for a label of the hold.
var placeholder = regexp.MustCompile(`\{node\}|\{label\.[^{}]+\}`)

// matcher is one of a silence, in the form of Alertmanager's API.
type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// template makes the matchers of a node's silence.
type template []matcher

// CheckMatchers says what is wrong with templates of matchers.
func CheckMatchers(texts []string) error {
	_, err := parseTemplate(texts)
	return err
}

// parseTemplate wants at least one matcher that names a node: without one, the
// alerts of all nodes would be silenced.
func parseTemplate(texts []string) (template, error) {
	var t template
	bound := false
	for _, text := range texts {
		m, err := gate.ParseMatcher(text)
		if err != nil {
			return nil, err
		}
		if placeholder.MatchString(m.Name) {
			return nil, fmt.Errorf("%q: want placeholders in the value only", text)
		}
		p := matcher{
			Name: m.Name, Value: m.Value,
			IsRegex: m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp,
			IsEqual: m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp,
		}
		bound = bound || p.IsEqual && strings.Contains(p.Value, "{node}")
		t = append(t, p)
	}
	if !bound {
		return nil, fmt.Errorf("want a matcher with = or =~ that has {node} in its value, such as %s: without one, alerts of other nodes would be silenced too", DefaultMatcher)
	}
	return t, nil
}

// fill makes the matchers for a node.
func (t template) fill(node string, labels map[string]string) ([]matcher, error) {
	out := make([]matcher, 0, len(t))
	for _, m := range t {
		missing := ""
		m.Value = placeholder.ReplaceAllStringFunc(m.Value, func(p string) string {
			value := node
			if name, ok := strings.CutPrefix(strings.Trim(p, "{}"), "label."); ok {
				if value = labels[name]; value == "" {
					missing = name
				}
			}
			if m.IsRegex {
				return regexp.QuoteMeta(value)
			}
			return value
		})
		if missing != "" {
			return nil, fmt.Errorf("node %s has no label %s, which silences.matchers uses", node, missing)
		}
		out = append(out, m)
	}
	return out, nil
}
