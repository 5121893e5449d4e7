package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// EnvPrefix begins the name of every variable that the programs read.
const EnvPrefix = "LOCKKEEPER_"

// noEnv marks a flag that must be given on the command line, fromVariable one
// whose value came from its variable.
const (
	noEnv        = "lockkeeper_no_env"
	fromVariable = "lockkeeper_from_variable"
)

// Source is what a user wrote to set a flag: "--log-level", or the variable.
func Source(f *pflag.Flag) string {
	if f.Annotations[fromVariable] != nil {
		return EnvName(f.Name)
	}
	return "--" + f.Name
}

// nameSource makes an error that begins with a flag's name begin with the
// variable that its value came from, if it did.
func nameSource(flags *pflag.FlagSet, err error) error {
	if err == nil {
		return nil
	}
	name, found := strings.CutPrefix(err.Error(), "--")
	name = name[:max(0, strings.IndexAny(name+" ", " :"))]
	f := flags.Lookup(name)
	if !found || f == nil || Source(f) == "--"+name {
		return err
	}
	return &renamed{Source(f) + strings.TrimPrefix(err.Error(), "--"+name), err}
}

// renamed is an error with another text.
type renamed struct {
	text string
	err  error
}

func (e *renamed) Error() string { return e.text }
func (e *renamed) Unwrap() error { return e.err }

// EnvName is the variable of a flag: "data-dir" is LOCKKEEPER_DATA_DIR.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// NoEnv takes flags out of BindEnv: a confirmation that a variable could give
// for good would be none. It panics when cmd has no such flag.
func NoEnv(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		set := cmd.PersistentFlags()
		if set.Lookup(name) == nil {
			set = cmd.Flags()
		}
		if err := set.SetAnnotation(name, noEnv, []string{"true"}); err != nil {
			panic(err)
		}
	}
}

// BindEnv makes every flag of cmd and of the commands below it readable from
// the environment as well, and says so in its help text. Call it once, on the
// root, when the tree is built.
//
// A flag that was given wins over its variable, which wins over the default. A
// flag set by its variable reads as changed, so a config file that fills only
// unchanged flags comes between the two. An empty variable counts as unset. A
// value that the flag does not accept is an error that names the variable, and
// so does an error of a command that begins with the flag's name. A variable whose
// name is nearly that of a flag is said on the standard error, and passed over.
func BindEnv(cmd *cobra.Command) {
	describe := func(f *pflag.Flag) {
		if hasEnv(f) && !strings.Contains(f.Usage, "(env ") {
			f.Usage += " (env " + EnvName(f.Name) + ")"
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(describe)
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error { return nameSource(cmd.Flags(), run(cmd, args)) }
		}
		if c == cmd || c.PersistentPreRunE != nil || c.PersistentPreRun != nil {
			bindBefore(c)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cmd)
}

// bindBefore reads the environment ahead of whatever c runs first. Cobra calls
// only the nearest of these hooks, so each one needs it.
func bindBefore(c *cobra.Command) {
	runE, run := c.PersistentPreRunE, c.PersistentPreRun
	c.PersistentPreRun = nil
	c.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if err := ReadEnv(cmd); err != nil {
			return err
		}
		for _, line := range misspelt(cmd.Root(), os.Environ()) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.Root().Name(), line)
		}
		switch {
		case runE != nil:
			return runE(cmd, args)
		case run != nil:
			run(cmd, args)
		}
		return nil
	}
}

// ReadEnv sets the flags of cmd that were not given from their variables. A
// command that BindEnv knows does so by itself; a completion function, which
// runs without the command's hooks, calls it.
func ReadEnv(cmd *cobra.Command) error { return fromEnv(cmd.Flags(), os.LookupEnv) }

func hasEnv(f *pflag.Flag) bool {
	return f.Name != "help" && f.Name != "version" && f.Annotations[noEnv] == nil
}

// fromEnv sets the unchanged flags from their variables; all bad values are
// reported together.
func fromEnv(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || !hasEnv(f) {
			return
		}
		value, _ := lookup(EnvName(f.Name))
		if value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, &EnvError{Variable: EnvName(f.Name), Value: value, Err: errors.New(wanted(f, err))})
			return
		}
		_ = flags.SetAnnotation(f.Name, fromVariable, []string{"true"}) // the flag is one of them
	})
	return errors.Join(errs...)
}

// cause strips pflag's talk of a --flag that nobody typed.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && invalid.Unwrap() != nil {
		return invalid.Unwrap()
	}
	return err
}

// EnvError is a variable whose value its flag does not accept.
type EnvError struct {
	Variable string
	Value    string
	Err      error
}

func (e *EnvError) Error() string { return fmt.Sprintf("%s=%q: %v", e.Variable, e.Value, e.Err) }

// Unwrap is the flag's own complaint.
func (e *EnvError) Unwrap() error { return e.Err }
