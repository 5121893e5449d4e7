package docpage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck_AnOldPartIsFoundAndWrittenAnewAndTheRestIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("above\n<!-- part: made -->\nold\nsame\n<!-- end of part -->\nbelow\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "new\nsame\n"
	if err := Check(path, "part", want, false); err == nil || !strings.Contains(err.Error(), "- old\n+ new\n") {
		t.Errorf("an old part: %v", err)
	}
	if err := Check(path, "part", want, true); err != nil {
		t.Fatal(err)
	}
	if err := Check(path, "part", want, false); err != nil {
		t.Errorf("after the update: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); got != "above\n<!-- part: made -->\nnew\nsame\n<!-- end of part -->\nbelow\n" {
		t.Errorf("the page is\n%s", got)
	}
	if err := Check(path, "other", want, true); err == nil {
		t.Error("a part that is not there was updated")
	}
}

func TestTable_HasNameTypeUnitLabelsAndMeaningOfEach(t *testing.T) {
	got := Table(Families(`# HELP b_seconds Time, a|b.
# TYPE b_seconds histogram
b_seconds_bucket{route="a",le="1"} 1
b_seconds_sum{route="a"} 1
b_seconds_count{route="a"} 1
# HELP a_bytes_total Line one\nand two.
# TYPE a_bytes_total counter
a_bytes_total 3
# HELP c_timestamp_seconds When.
# TYPE c_timestamp_seconds gauge
c_timestamp_seconds{x="q\"}",y="2"} 1.5e+09
`))
	const want = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n" +
		"| `a_bytes_total` | counter | bytes | – | Line one and two. |\n" +
		"| `b_seconds` | histogram | seconds | route | Time, a\\|b. |\n" +
		"| `c_timestamp_seconds` | gauge | Unix seconds | x, y | When. |\n"
	if got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

func TestCommands_AreThoseOfBlocksAndSentencesAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	page := "Run `prog show NODE`, or `prog pick [a|b]`.\n\n```sh\nsudo A=1 bin/prog set 'a b' --x \"c; d\" > out   # prog not this\n" +
		"for n in 1 2; do\n  prog run \\\n    --n $n 2>/dev/null &\ndone\nother prog | prog filter\n```\n\n```\nprog output\n```\n\n```console\n$ prog ask\nprog answers\n```\n"
	if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Commands(dir, "prog")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range got {
		lines = append(lines, fmt.Sprintf("%t %s", c.Whole, strings.Join(c.Args, "_")))
	}
	want := "true set_a b_--x_c; d\ntrue run_--n_$n\ntrue filter\ntrue ask\nfalse show_NODE"
	if have := strings.Join(lines, "\n"); have != want {
		t.Errorf("commands:\n%s\nwant:\n%s", have, want)
	}
}
