package cli

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestPlainErrors_SayWhatWasWrittenAndWhatIsAccepted(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"grup", `no command "grup"; did you mean group?`},
		{"bogus", `no command "bogus": want one of completion, group`},
		{"group lst", `no command "lst"; did you mean list?`},
		{"group list extra", `"extra" is one argument too many; want: program group list [flags]`},
		{"group show", "an argument is missing; want: program group show GROUP [flags]"},
		{"group show web db", `"db" is one argument too many; want: program group show GROUP [flags]`},
		{"group label", "arguments are missing; want: program group label GROUP KEY=VALUE..."},
		{"group label web", "an argument is missing; want: program group label GROUP KEY=VALUE..."},
		{"group show web --slot 2", "unknown flag: --slot; did you mean --slots?"},
		{"group show web --silent", "unknown flag: --silent"},
		{"group show web --solts 2", "unknown flag: --solts; did you mean --slots?"},
		{"group show web --slots two", `--slots "two": want a whole number`},
		{"group show web --slots 99999999999999999999", `--slots "99999999999999999999": want a whole number`},
		{"group show web --wait soon", `--wait "soon": want a duration such as 30s, 10m or 1h30m`},
		{"group show web --force=perhaps", `--force "perhaps": want true or false`},
		{"group show -5", "-5 is no flag: a negative number goes behind --, as in -- -5"},
		{"help bogus", `no command "bogus": want one of completion, group`},
		{"help group lst", `no command "lst"; did you mean list?`},
		{"completion tcsh", `no command "tcsh"; did you mean`},
	} {
		group := &cobra.Command{Use: "group"}
		show := &cobra.Command{Use: "show GROUP", Args: cobra.ExactArgs(1), Run: func(*cobra.Command, []string) { t.Error("the command ran") }}
		show.Flags().Int("slots", 1, "")
		show.Flags().Duration("wait", time.Second, "")
		show.Flags().Bool("force", false, "")
		group.AddCommand(&cobra.Command{Use: "list", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) { t.Error("the command ran") }}, show,
			&cobra.Command{Use: "label GROUP KEY=VALUE...", Args: cobra.MinimumNArgs(2), Run: func(*cobra.Command, []string) { t.Error("the command ran") }})
		root := &cobra.Command{Use: "program", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(group)
		BindEnv(root)
		wrapped := errors.New("wrapped")
		PlainErrors(root, func(err error) error { return errors.Join(wrapped, err) })
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		root.SetArgs(strings.Fields(c.line))
		err := root.Execute()
		if !errors.Is(err, wrapped) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.line, err, c.want)
		}
	}
}

func TestPlainErrors_HelpOfWhatThereIsStillWorks(t *testing.T) {
	var out strings.Builder
	root := tree(nil)
	PlainErrors(root, func(err error) error { return err })
	root.SetOut(&out)
	root.SetArgs([]string{"help", "sub"})
	if err := root.Execute(); err != nil || !strings.Contains(out.String(), "--long-wait") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}
