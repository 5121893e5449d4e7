package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// kindsWritten are the kinds of events that the program writes, by its source: a
// kind that ends with a dot is completed as it runs.
func kindsWritten(t *testing.T) map[string]string {
	t.Helper()
	kinds := map[string]string{}
	kind := regexp.MustCompile(`^(bundle|cluster|freeze|group|hold|node|queue|rollout|snapshot|token)(\.[a-z]+)+\.?$`)
	text := func(e ast.Expr) (string, bool) {
		if sum, ok := e.(*ast.BinaryExpr); ok {
			e = sum.X
		}
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(lit.Value)
		return s, err == nil
	}
	files := token.NewFileSet()
	for _, room := range []string{"semaphore", "coordinator"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CompositeLit: // an event, whatever its kind begins with
					if name, ok := n.Type.(*ast.SelectorExpr); !ok || name.Sel.Name != "Event" {
						break
					}
					for _, el := range n.Elts {
						if pair, ok := el.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Kind" {
							if s, ok := text(pair.Value); ok {
								kinds[s] = files.Position(n.Pos()).String()
							}
						}
					}
				case *ast.BasicLit:
					if s, ok := text(n); ok && kind.MatchString(s) && !strings.HasSuffix(s, ".json") && !strings.HasSuffix(s, ".yaml") {
						kinds[s] = files.Position(n.Pos()).String()
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return kinds
}

func TestEventWords_SayEveryKindThatTheProgramWrites(t *testing.T) {
	t.Parallel()
	written := kindsWritten(t)
	if len(written) < 50 {
		t.Fatalf("only %d kinds were found in the source", len(written))
	}
	for kind, at := range written {
		said := eventWords[kind].Word != ""
		for known := range eventWords {
			said = said || strings.HasSuffix(kind, ".") && strings.HasPrefix(known, kind)
		}
		if !said {
			t.Errorf("events of kind %q, written at %s, have no words in eventWords", kind, at)
		}
	}
	for kind, l := range eventWords {
		stem := kind[:strings.LastIndex(kind, ".")+1]
		if written[kind] == "" && written[stem] == "" {
			t.Errorf("eventWords has %q, which nothing writes", kind)
		}
		if l.Class == "" || l.Icon == "" {
			t.Errorf("%q has no hue or no shape: %+v", kind, l)
		}
	}
}

func TestEventLook_BeginsASentenceWhereNothingIsNamedFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event api.Event
		want  string
	}{
		{api.Event{Kind: "cluster.member.added"}, "Coordinator added"},
		{api.Event{Kind: "token.created", Node: "web-1"}, "Token created"}, // for web-1
		{api.Event{Kind: "hold.adopted", Node: "web-1", Group: "web"}, "kept a slot that the store did not know"},
		{api.Event{Kind: "freeze.set"}, "was frozen"},    // the fleet
		{api.Event{Kind: "rollout.halted"}, "It halted"}, // on its own page
		{api.Event{Kind: "moon.rose"}, "Moon rose"},
	} {
		if got := eventLook(c.event).Word; got != c.want {
			t.Errorf("%+v: %q, want %q", c.event, got, c.want)
		}
	}
}

func TestReadable_WritesTimesAsThePagesDo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"wave 50% soaks until 2026-11-27T15:14:11Z":        "wave 50% soaks until Fri 27 Nov 15:14:11 UTC",
		"from 2026-11-27T15:00:00+01:00, by ann":           "from Fri 27 Nov 14:00 UTC, by ann",
		"since 2026-11-27 15:14:11 UTC (fence 9)":          "since Fri 27 Nov 15:14:11 UTC (fence 9)",
		"host-2026-11-27 of 2026-13-41T15:14:11Z, no time": "host-2026-11-27 of 2026-13-41T15:14:11Z, no time",
	} {
		if got := readable(text); got != want {
			t.Errorf("%q is written %q, want %q", text, got, want)
		}
	}
}
