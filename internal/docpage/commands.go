package docpage

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Command is a command line that a page shows.
type Command struct {
	Page  string
	Args  []string // behind the program's name
	Whole bool     // to be run as it is; a sentence may name a command only
}

var (
	shellFence = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	console    = regexp.MustCompile("(?ms)^```console\n(.*?)^```")
	prompted   = regexp.MustCompile(`(?m)^\$ (.*)$`)
	anyFence   = regexp.MustCompile("(?ms)^```.*?^```")
	code       = regexp.MustCompile("`([^`\n]+)`")
	assignment = regexp.MustCompile(`^[A-Z_]+=`)
)

// Commands are the lines with which the pages below root call a program: in
// blocks of sh, behind the prompt in blocks of console, and in code within a
// sentence.
func Commands(root, program string) ([]Command, error) {
	var list []Command
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."), d.IsDir() && (d.Name() == "test-output" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(b)
		var shown []string
		whole := 0
		for _, m := range shellFence.FindAllStringSubmatch(text, -1) {
			shown = append(shown, strings.ReplaceAll(m[1], "\\\n", " "))
		}
		for _, m := range console.FindAllStringSubmatch(text, -1) {
			for _, line := range prompted.FindAllStringSubmatch(m[1], -1) {
				shown = append(shown, line[1])
			}
		}
		whole = len(shown)
		for _, m := range code.FindAllStringSubmatch(anyFence.ReplaceAllString(text, ""), -1) {
			// What only names a choice is no line of its own.
			if !strings.ContainsAny(m[1], `[\`) {
				shown = append(shown, m[1])
			}
		}
		for i, s := range shown {
			for _, words := range commands(s) {
				if filepath.Base(words[0]) == program {
					list = append(list, Command{path, words[1:], i < whole})
				}
			}
		}
		return nil
	})
	return list, err
}

// commands splits what a shell would run into the words of each command. It
// knows quotes, comments, redirections and what stands between commands, which
// is all that the pages use.
func commands(text string) [][]string {
	var (
		list  [][]string
		words []string
		word  strings.Builder
		begun bool // a word, even an empty one
		skip  bool // the word is where output goes
		quote rune
	)
	endWord := func() {
		if begun && !skip {
			words = append(words, word.String())
		}
		if begun {
			skip = false
		}
		word.Reset()
		begun = false
	}
	endCommand := func() {
		endWord()
		for len(words) > 0 && (words[0] == "do" || words[0] == "sudo" || assignment.MatchString(words[0])) {
			words = words[1:]
		}
		if len(words) > 0 {
			list = append(list, words)
		}
		words, skip = nil, false
	}
	comment := false
	for _, r := range text {
		switch {
		case comment && r != '\n':
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == '#' && !begun:
			comment = true
		case r == '\n' || strings.ContainsRune("|;&()", r):
			comment = false
			endCommand()
		case r == '>' || r == '<':
			if text := word.String(); text != "1" && text != "2" {
				endWord()
			}
			word.Reset()
			begun, skip = false, true
		case r == ' ' || r == '\t':
			endWord()
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	endCommand()
	return list
}
