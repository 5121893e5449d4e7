package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/internal/near"
)

// PlainErrors has what is wrong with a command line said in the words of the
// other errors: what was written, and what would be accepted. Each is passed
// through wrap. Call it on the root behind BindEnv; it adds the commands help and
// completion, whose mistakes are errors as well.
func PlainErrors(root *cobra.Command, wrap func(error) error) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return wrap(flagError(cmd, err)) })
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		check := c.Args
		switch {
		case c.Name() == "help" && c.Parent() == root:
			check = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					return noCommand(found, rest[0])
				}
				return err
			}
		case c.HasSubCommands():
			if !c.Runnable() {
				c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			}
			check = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return nil
				}
				return noCommand(cmd, args[0])
			}
		case check != nil:
			check = argsError(check)
		}
		if check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return wrap(err)
				}
				return nil
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// noCommand names the commands that were meant, or else those that there are.
func noCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("no command %q; did you mean %s?", name, strings.Join(near, " or "))
	}
	if list := CommandNames(c); list != "" {
		return fmt.Errorf("no command %q: want one of %s", name, list)
	}
	return fmt.Errorf("no command %q: %s has none", name, c.CommandPath())
}

// CommandNames are the commands below c that help shows, with commas between them.
func CommandNames(c *cobra.Command) string {
	var list []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			list = append(list, sub.Name())
		}
	}
	return strings.Join(list, ", ")
}

// argsError adds the usage to what a check says of the arguments.
func argsError(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		switch {
		case err == nil:
			return nil
		// cobra takes an argument of a command without any for another command.
		case strings.HasPrefix(err.Error(), "unknown command "):
			return fmt.Errorf("%q is one argument too many; want: %s", args[0], cmd.UseLine())
		}
		if need := fewest(check, cmd, args); need > len(args) {
			return fmt.Errorf("%s missing; want: %s", map[bool]string{true: "an argument is", false: "arguments are"}[need == len(args)+1], cmd.UseLine())
		}
		for n := len(args) - 1; n >= 0; n-- {
			if check(cmd, args[:n]) == nil {
				return fmt.Errorf("%q is one argument too many; want: %s", args[n], cmd.UseLine())
			}
		}
		return fmt.Errorf("%w; want: %s", err, cmd.UseLine())
	}
}

// mostArguments is more than any command needs.
const mostArguments = 8

// fewest is how many arguments at least would pass, from those that there are on;
// as many as there are if more would not help.
func fewest(check cobra.PositionalArgs, cmd *cobra.Command, args []string) int {
	more := slices.Clone(args)
	for len(more) < mostArguments {
		if more = append(more, "x"); check(cmd, more) == nil {
			return len(more)
		}
	}
	return len(args)
}

// flagError says what is wrong with a flag without Go's words for it.
func flagError(cmd *cobra.Command, err error) error {
	var (
		invalid *pflag.InvalidValueError
		unknown *pflag.NotExistError
	)
	switch {
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid.GetFlag(), err))
	case errors.As(err, &unknown) && strings.ContainsAny(unknown.GetSpecifiedName(), "0123456789") && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("-%s is no flag: a negative number goes behind --, as in -- -%[1]s", unknown.GetSpecifiedShortnames())
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		if near := similar(cmd, unknown.GetSpecifiedName()); len(near) > 0 {
			return fmt.Errorf("unknown flag: --%s; did you mean %s?", unknown.GetSpecifiedName(), strings.Join(near, " or "))
		}
	}
	return err
}

// similar are the flags of cmd that one which does not exist may have meant.
func similar(cmd *cobra.Command, name string) []string {
	var list []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && (strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name) || len(near.To(name, []string{f.Name})) > 0) {
			list = append(list, "--"+f.Name)
		}
	})
	slices.Sort(list)
	return list
}

// wanted is what a flag accepts, by its type; of a type of its own what that
// said of the value.
func wanted(f *pflag.Flag, err error) string {
	switch f.Value.Type() {
	case "int", "int32", "int64", "count":
		return "want a whole number"
	case "uint", "uint32", "uint64", "uint16":
		return "want a whole number, 0 or more"
	case "float64":
		return "want a number"
	case "bool":
		return "want true or false"
	case "duration":
		return "want a duration such as 30s, 10m or 1h30m"
	}
	return cause(err).Error()
}
