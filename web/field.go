package web

import (
	"regexp"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// textField is an input with its label, and what was wrong with what it held.
type textField struct {
	Name, Label, Value, Hint, Placeholder string
	Mono, Required, Wide                  bool
	Wrong                                 []api.FieldError
}

// Described are the ids of what explains the input, for aria-describedby.
func (f textField) Described() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	if len(f.Wrong) > 0 {
		ids = append(ids, f.Name+"-wrong")
	}
	return strings.Join(ids, " ")
}

// elementOf is the head of a path that leads to one element of a list.
var elementOf = regexp.MustCompile(`^(windows|blackouts)\[\d+\]\.`)

// newTextField makes a field. Options are "required", "mono", "wide", "hint=…",
// "placeholder=…", and "api=PATH" for what the API calls it, if that is not its
// name here.
func newTextField(p *problem, name, label, value string, options ...string) textField {
	f := textField{Name: name, Label: label, Value: value}
	paths := []string{name}
	for _, o := range options {
		key, text, _ := strings.Cut(o, "=")
		switch key {
		case "required":
			f.Required = true
		case "mono":
			f.Mono = true
		case "wide":
			f.Wide = true
		case "hint":
			f.Hint = text
		case "placeholder":
			f.Placeholder = text
		case "api":
			paths = append(paths, text)
		}
	}
	f.Wrong = wrongAt(p, paths...)
	return f
}

// wrongAt are the faults of a refused form at any of the paths or below.
func wrongAt(p *problem, paths ...string) (out []api.FieldError) {
	if p == nil {
		return nil
	}
	for _, wrong := range p.Fields {
		at := elementOf.ReplaceAllString(wrong.Path, "")
		for _, path := range paths {
			if at == path || strings.HasPrefix(at, path+"[") || strings.HasPrefix(at, path+".") {
				out = append(out, wrong)
				break
			}
		}
	}
	return out
}
