package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/internal/near"
)

// others are variables without a flag: secrets, what hooks and commands of bundles
// are told, which may call these programs, and HOST, of the coordinator in whose
// container they may be called.
var others = []string{
	"TOKEN", "JOIN_TOKEN", "HOST",
	"HOOK", "NODE", "GROUP", "PHASE", "BUNDLE", "BUNDLE_NAME", "ROLLOUT", "ROOT", "STAGED",
}

// misspelt says of each variable in environ ("NAME=VALUE") that no flag of the
// program reads but one of nearly that name: it would be without effect, and nobody
// told. Variables that are like none may be another program's.
func misspelt(root *cobra.Command, environ []string) []string {
	known, free := slices.Clone(others), map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := strings.TrimPrefix(EnvName(f.Name), EnvPrefix)
			if free[name] = true; hasEnv(f) {
				known = append(known, name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	slices.Sort(known)
	known = slices.Compact(known)
	var list []string
	for _, line := range environ {
		variable, _, _ := strings.Cut(line, "=")
		name, ours := strings.CutPrefix(variable, EnvPrefix)
		if !ours || free[name] || slices.Contains(known, name) || strings.HasPrefix(name, "LABEL_") || strings.HasPrefix(name, "TEST_") {
			continue
		}
		if meant := near.To(name, known); len(meant) > 0 {
			list = append(list, fmt.Sprintf("no flag reads the variable %s; did you mean %s?", variable, EnvPrefix+strings.Join(meant, " or "+EnvPrefix)))
		}
	}
	slices.Sort(list)
	return list
}
