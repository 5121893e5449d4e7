package web_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// paper is a browser that runs no script: it reads a page, follows links, fills
// forms and sends them with what a browser would add.
type paper struct {
	*testing.T
	site   string // URL of the coordinator
	secret string // of the token in its cookie; empty: none
	from   string // Sec-Fetch-Site of what it sends
}

// sheet is a page that paper reads.
type sheet struct {
	status int
	url    *url.URL
	text   string
	links  []string
	forms  []paperForm
}

// paperForm is a form with what its fields hold.
type paperForm struct {
	action  string
	values  url.Values
	boxes   map[string]bool // not ticked
	buttons []paperButton
}

type paperButton struct {
	name, value string
	off         bool
}

func (b *paper) send(method, target string, form url.Values) *sheet {
	b.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.Context(), method, target, body)
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", b.from)
	}
	carry := func(r *http.Request) {
		if b.secret != "" {
			r.AddCookie(&http.Cookie{Name: auth.CookieName(r.URL.Host, false), Value: b.secret})
		}
	}
	carry(r)
	follow := http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error { carry(r); return nil }}
	answer, err := follow.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	return readSheet(b.T, answer.StatusCode, answer.Request.URL, string(text))
}

// said is what a page tells of a refusal.
func (s *sheet) said() string {
	_, text, found := strings.Cut(s.text, `role="alert">`)
	if !found {
		text = s.text
	}
	return text[:min(len(text), 400)]
}

// open reads a page, and then what the links with these parts in their address
// lead to, one behind the other.
func (b *paper) open(path string, links ...string) *sheet {
	b.Helper()
	s := b.send(http.MethodGet, b.site+path, nil)
	for _, part := range links {
		if s.status != http.StatusOK {
			b.Fatalf("%s: status %d\n%s", s.url, s.status, s.said())
		}
		i := indexOf(s.links, func(l string) bool { return strings.Contains(l, part) })
		if i < 0 {
			b.Fatalf("%s leads nowhere with %q, only to %q", s.url, part, s.links)
		}
		to, err := s.url.Parse(s.links[i])
		if err != nil {
			b.Fatal(err)
		}
		s = b.send(http.MethodGet, to.String(), nil)
	}
	return s
}

func indexOf[T any](list []T, is func(T) bool) int {
	for i, v := range list {
		if is(v) {
			return i
		}
	}
	return -1
}

// form is the one whose address ends so.
func (s *sheet) form(action string) (paperForm, bool) {
	i := indexOf(s.forms, func(f paperForm) bool { return strings.HasSuffix(f.action, action) })
	if i < 0 {
		return paperForm{}, false
	}
	return s.forms[i], true
}

// filled are the values that a person's input leads to: of fields that are there,
// by a button that works.
func (f paperForm) filled(in [][2]string, button string) (url.Values, error) {
	out := url.Values{}
	for name, values := range f.values {
		out[name] = values
	}
	for _, field := range in {
		name, value := field[0], field[1]
		switch {
		case f.boxes[name]:
			out.Set(name, "on")
		case out.Has(name):
			out.Set(name, value)
		default:
			return nil, fmt.Errorf("the form has no field %q", name)
		}
	}
	i := indexOf(f.buttons, func(b paperButton) bool { return b.value == button })
	switch {
	case i < 0:
		return nil, fmt.Errorf("the form has no button %q", button)
	case f.buttons[i].off:
		return nil, fmt.Errorf("the button %q is off", button)
	case f.buttons[i].name != "":
		out.Set(f.buttons[i].name, button)
	}
	return out, nil
}

// readSheet takes a page apart.
func readSheet(t *testing.T, status int, at *url.URL, text string) *sheet {
	t.Helper()
	s := &sheet{status: status, url: at, text: text}
	var option *xml.StartElement // that is chosen by its text
	chosen := ""                 // the select's name
	eachToken(t, text, func(token xml.Token) {
		if said, is := token.(xml.CharData); is && option != nil {
			s.forms[len(s.forms)-1].values.Set(chosen, string(said))
		}
		option = nil
		e, is := token.(xml.StartElement)
		if !is {
			return
		}
		get := func(name string) string { v, _ := attr(e, name); return v }
		has := func(name string) bool { _, found := attr(e, name); return found }
		switch e.Name.Local {
		case "a":
			s.links = append(s.links, get("href"))
		case "form":
			s.forms = append(s.forms, paperForm{action: get("action"), values: url.Values{}, boxes: map[string]bool{}})
		}
		if len(s.forms) == 0 {
			return
		}
		f := &s.forms[len(s.forms)-1]
		switch e.Name.Local {
		case "input":
			switch {
			case get("type") != "checkbox":
				f.values.Set(get("name"), get("value"))
			case has("checked"):
				f.values.Set(get("name"), "on")
			default:
				f.boxes[get("name")] = true
			}
		case "select":
			chosen = get("name")
			f.values.Del(chosen)
		case "option":
			if has("selected") || !f.values.Has(chosen) {
				f.values.Set(chosen, get("value"))
				if !has("value") {
					option = &e
				}
			}
		case "button":
			f.buttons = append(f.buttons, paperButton{get("name"), get("value"), has("disabled")})
		}
	})
	return s
}

func attr(e xml.StartElement, name string) (string, bool) {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// eachToken calls do for every tag and text of a page, in order.
func eachToken(t *testing.T, text string, do func(xml.Token)) {
	t.Helper()
	in := xml.NewDecoder(strings.NewReader(text))
	in.Strict, in.AutoClose, in.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := in.RawToken()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		do(token)
	}
}
