package shellword

import (
	"os/exec"
	"testing"
)

// A shell must read the word as the text that it stands for, whatever that is.
func TestArgument_IsOneArgumentOfAShell(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"web-077.rack-7": "web-077.rack-7", "web 1": "'web 1'", "$(touch pwned)": "'$(touch pwned)'", "a;b": "'a;b'", "it's": `'it'\''s'`,
		"": "''", "~root": "'~root'", "böse": "böse", "a\nb'\\": `$'a\x0ab\'\\'`, "a\u202eb": `$'a\xe2\x80\xaeb'`, "-x": "-- -x", "!!": "'!!'", "#a": "'#a'",
	} {
		word := Argument(text)
		if word != want {
			t.Errorf("%q is written %s, want %s", text, word, want)
		}
		out, err := exec.CommandContext(t.Context(), bash, "-c", `show() { if [ "$1" = -- ]; then shift; fi; printf '%s|%s' "$#" "$1"; }; show `+word).CombinedOutput()
		if got := string(out); err != nil || got != "1|"+text {
			t.Errorf("%q: a shell reads %q, error %v", text, got, err)
		}
	}
}
