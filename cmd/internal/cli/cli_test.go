package cli

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// tree is a root with a persistent flag and a command with flags of its own.
func tree(run func(server string, wait time.Duration, sure bool)) *cobra.Command {
	var server string
	var wait time.Duration
	var sure bool
	root := &cobra.Command{Use: "prog", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().StringVar(&server, "server", "default", "where")
	sub := &cobra.Command{Use: "sub", RunE: func(*cobra.Command, []string) error {
		run(server, wait, sure)
		return nil
	}}
	sub.Flags().DurationVar(&wait, "long-wait", time.Second, "how long")
	sub.Flags().BoolVar(&sure, "sure", false, "I looked")
	NoEnv(sub, "sure")
	root.AddCommand(sub)
	BindEnv(root)
	return root
}

func TestBindEnv_AVariableThatIsNearlyAFlagsIsSaid(t *testing.T) {
	for name, c := range map[string]struct{ variable, want string }{
		"a letter less":      {"LOCKKEEPER_SERVR", "prog: no flag reads the variable LOCKKEEPER_SERVR; did you mean LOCKKEEPER_SERVER?\n"},
		"two letters":        {"LOCKKEEPER_LNGWAIT", "did you mean LOCKKEEPER_LONG_WAIT?\n"},
		"a secret's":         {"LOCKKEEPER_TOKENS", "did you mean LOCKKEEPER_TOKEN?\n"},
		"a flag's":           {"LOCKKEEPER_LONG_WAIT", ""},
		"of another program": {"LOCKKEEPER_PEER_LISTEN", ""},
		"left out":           {"LOCKKEEPER_SURE", ""},
		"told to hooks":      {"LOCKKEEPER_HOOK", ""},
		"a label's":          {"LOCKKEEPER_LABEL_SERVR", ""},
		"of others":          {"LOCKKEEPR_SERVER", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(c.variable, "1s")
			var errs strings.Builder
			root := tree(func(string, time.Duration, bool) {})
			root.SetErr(&errs)
			root.SetArgs([]string{"sub"})
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(errs.String(), c.want) || c.want == "" && errs.String() != "" {
				t.Errorf("it said %q, want %q", errs.String(), c.want)
			}
		})
	}
}

func TestBindEnv_FlagWinsOverEnvironmentOverDefault(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"default", nil, nil, "default"},
		{"environment", map[string]string{"LOCKKEEPER_SERVER": "env"}, nil, "env"},
		{"flag", map[string]string{"LOCKKEEPER_SERVER": "env"}, []string{"--server", "flag"}, "flag"},
		{"an empty variable is unset", map[string]string{"LOCKKEEPER_SERVER": ""}, nil, "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			got := ""
			root := tree(func(server string, _ time.Duration, _ bool) { got = server })
			root.SetArgs(append([]string{"sub"}, c.args...))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("server = %q, want %q", got, c.want)
			}
		})
	}
}

func TestBindEnv_BadValueNamesTheVariable(t *testing.T) {
	t.Setenv("LOCKKEEPER_LONG_WAIT", "soon")
	root := tree(func(string, time.Duration, bool) { t.Error("the command ran") })
	root.SetArgs([]string{"sub"})
	err := root.Execute()
	var bad *EnvError
	if !errors.As(err, &bad) || bad.Variable != "LOCKKEEPER_LONG_WAIT" {
		t.Fatalf("error = %v, want an EnvError", err)
	}
	if !strings.HasPrefix(err.Error(), `LOCKKEEPER_LONG_WAIT="soon": `) || strings.Contains(err.Error(), "--long-wait") {
		t.Errorf("error = %q", err)
	}
}

func TestBindEnv_AnErrorOfTheCommandNamesWhatWasWritten(t *testing.T) {
	cause := errors.New("--server \"x\": want a URL")
	for _, c := range []struct{ variable, text, want string }{
		{"LOCKKEEPER_SERVER", cause.Error(), `LOCKKEEPER_SERVER "x": want a URL`},
		{"", cause.Error(), `--server "x": want a URL`},
		{"LOCKKEEPER_SERVER", "--nothing: is no flag", "--nothing: is no flag"},
		{"LOCKKEEPER_SERVER", "--serverless: is another", "--serverless: is another"},
		{"LOCKKEEPER_SERVER", "--", "--"},
		{"LOCKKEEPER_SERVER", "something else", "something else"},
	} {
		root := &cobra.Command{Use: "program", SilenceErrors: true, SilenceUsage: true}
		root.PersistentFlags().String("server", "", "")
		cause := errors.New(c.text)
		root.AddCommand(&cobra.Command{Use: "sub", RunE: func(*cobra.Command, []string) error { return cause }})
		BindEnv(root)
		if c.variable != "" {
			t.Setenv(c.variable, "x")
		} else {
			t.Setenv("LOCKKEEPER_SERVER", "")
		}
		root.SetArgs([]string{"sub"})
		if err := root.Execute(); err == nil || err.Error() != c.want || !errors.Is(err, cause) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestBindEnv_AConfirmationCannotComeFromTheEnvironment(t *testing.T) {
	t.Setenv("LOCKKEEPER_SURE", "true")
	root := tree(func(_ string, _ time.Duration, sure bool) {
		if sure {
			t.Error("the environment confirmed")
		}
	})
	root.SetArgs([]string{"sub"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
}

func TestBindEnv_AHookOfACommandStillRuns(t *testing.T) {
	t.Setenv("LOCKKEEPER_SERVER", "env")
	var server string
	ran := false
	root := &cobra.Command{Use: "prog"}
	root.PersistentFlags().StringVar(&server, "server", "", "where")
	sub := &cobra.Command{
		Use:              "sub",
		PersistentPreRun: func(*cobra.Command, []string) { ran = server == "env" },
		Run:              func(*cobra.Command, []string) {},
	}
	root.AddCommand(sub)
	BindEnv(root)
	root.SetArgs([]string{"sub"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if !ran {
		t.Error("the command's own hook did not run after the environment was read")
	}
}

func TestBindEnv_HelpNamesTheVariable(t *testing.T) {
	root := tree(nil)
	sub, _, err := root.Find([]string{"sub"})
	if err != nil {
		t.Fatal(err)
	}
	usage := sub.UsageString()
	for _, want := range []string{"(env LOCKKEEPER_LONG_WAIT)", "(env LOCKKEEPER_SERVER)"} {
		if !strings.Contains(usage, want) {
			t.Errorf("usage lacks %s:\n%s", want, usage)
		}
	}
	if strings.Contains(usage, "LOCKKEEPER_SURE") {
		t.Errorf("usage offers a variable that is not read:\n%s", usage)
	}
}

func TestVersion_IsTheTagElseTheCommit(t *testing.T) {
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel"},
		{debug.BuildInfo{Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
		}}, "devel-0123456789ab+dirty"},
	} {
		if got := version(&c.info); got != c.want {
			t.Errorf("version(%+v) = %q, want %q", c.info, got, c.want)
		}
	}
}

func TestSpan_ReadsAtAGlance(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Minute: "now", 0: "now", 45 * time.Second: "45s", 4*time.Minute + 59*time.Second: "4m",
		80 * time.Minute: "1h20m", 3*time.Hour + 20*time.Minute: "3h", 52 * time.Hour: "2d4h", 220 * time.Hour: "9d",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBytes_UsesBinaryUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1434: "1.4 KiB", 30 << 20: "30 MiB", 2 << 30: "2.0 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestCell_ATextFromAHostCannotActOnTheTerminal(t *testing.T) {
	if got := Cell("a\x1b[2Jb\nc\td"); got != "a\uFFFD[2Jb c d" {
		t.Errorf("Cell = %q", got)
	}
}

func TestTable_AlignsAndLeavesNoBlanksAtTheEnd(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, []string{"NODE", "STATE", "NOTE"}, [][]string{{"a", "idle", ""}, {"bcdefg", "out", "since 4m"}}); err != nil {
		t.Fatal(err)
	}
	want := "NODE     STATE   NOTE\na        idle\nbcdefg   out     since 4m\n"
	if b.String() != want {
		t.Errorf("table:\n%q\nwant\n%q", b.String(), want)
	}
}
