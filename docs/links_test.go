package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var (
	fence     = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	inline    = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`(?m)\]\(([^)\s]+)[^)]*\)|(?:src|srcset|href)="([^"]+)"|^\[[^\]]+\]: *(\S+)`)
	linked    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	heading   = regexp.MustCompile(`(?m)^#{1,6}[ \t]+(.*?)[ \t]*$`)
	madeID    = regexp.MustCompile(`<\w+ [^>]*(?:id|name)="([^"]+)"`)
	pageNamed = regexp.MustCompile(`\bdocs/[\w./-]*\w\.(?:md|json)(?:#[\w-]+)?`)
)

// repository calls a function for each file of the repository that people wrote.
func repository(t *testing.T, each func(path, text string)) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{".md", ".go", ".html", ".yml", ".yaml", ".service", ".json", ".sh", ".tmpl"}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"test-output", "bin", "node_modules"}, d.Name())):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains(kinds, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			each(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// slug is the anchor that GitHub makes of a heading: letters, digits, _ and - in
// lower case, - for each space, and a number behind one that was there before.
func slug(heading string, before map[string]int) string {
	text := strings.ToLower(linked.ReplaceAllString(heading, "$1"))
	s := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc):
			return r
		}
		return -1
	}, text)
	n := before[s]
	before[s]++
	if n > 0 {
		return s + "-" + strconv.Itoa(n)
	}
	return s
}

func TestSlug_IsTheAnchorThatGitHubMakes(t *testing.T) {
	before := map[string]int{}
	for _, c := range [][2]string{
		{"Windows, blackouts and intervals", "windows-blackouts-and-intervals"},
		{"4. Start, and let the hosts speak", "4-start-and-let-the-hosts-speak"},
		{"`lockkeeper plan` & co.", "lockkeeper-plan--co"},
		{"The agent's", "the-agents"},
		{"See [the API](api.md)", "see-the-api"},
		{"`max_attempts`", "max_attempts"},
		{"The agent's", "the-agents-1"},
		{"Größe", "größe"},
	} {
		if got := slug(c[0], before); got != c[1] {
			t.Errorf("%q: %q, want %q", c[0], got, c[1])
		}
	}
}

// anchors are those of a page: of its headings, and those that it makes itself.
func anchors(text string) map[string]bool {
	prose := fence.ReplaceAllString(text, "")
	list, before := map[string]bool{}, map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		list[slug(m[1], before)] = true
	}
	for _, m := range madeID.FindAllStringSubmatch(inline.ReplaceAllString(prose, ""), -1) {
		list[m[1]] = true
	}
	return list
}

// wrong says why a path with an anchor leads nowhere; "" when it does lead there.
func wrong(path, anchor string) string {
	if _, err := os.Stat(path); err != nil {
		return "there is no such file"
	}
	if anchor == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil || filepath.Ext(path) != ".md" {
		return "only pages have headings"
	}
	if !anchors(string(text))[anchor] {
		return "the page has no such heading"
	}
	return ""
}

// Every relative link of every page leads to a file or folder of the repository,
// and one with an anchor to a heading.
func TestLinks_LeadSomewhere(t *testing.T) {
	links, toHeadings := 0, 0
	repository(t, func(path, text string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		prose := inline.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			target := m[1] + m[2] + m[3]
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: %q is no link: %v", path, target, err)
				continue
			}
			if u.IsAbs() || u.Host != "" {
				continue
			}
			to := path
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(u.Path))
			}
			if why := wrong(to, u.Fragment); why != "" {
				t.Errorf("%s: the link to %s leads nowhere: %s", path, target, why)
			}
			links++
			if u.Fragment != "" {
				toHeadings++
			}
		}
	})
	if links < 200 || toHeadings < 50 {
		t.Errorf("%d links, %d of them to headings: where are the others?", links, toHeadings)
	}
}

// A page that a program, an alert or a unit names exists, and so does its heading.
func TestLinks_PagesThatTheProgramsNameExist(t *testing.T) {
	named := 0
	repository(t, func(path, text string) {
		if filepath.Ext(path) == ".md" {
			return
		}
		for _, name := range pageNamed.FindAllString(text, -1) {
			page, anchor, _ := strings.Cut(name, "#")
			if why := wrong(filepath.Join("..", filepath.FromSlash(page)), anchor); why != "" {
				t.Errorf("%s names %s: %s", path, name, why)
			}
			named++
		}
	})
	if named < 50 {
		t.Errorf("%d pages are named: where are the others?", named)
	}
}
