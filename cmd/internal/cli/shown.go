package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Accepts reports what is wrong with a command line as a page shows it, without
// running it: a command or a flag that there is not and, of a whole one, arguments
// that are too few or too many. A "…" stands for anything, also for more arguments.
func Accepts(root *cobra.Command, args []string, whole bool) error {
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	var (
		number *pflag.InvalidValueError
		lone   *pflag.ValueRequiredError
	)
	switch err := c.ParseFlags(rest); {
	case errors.Is(err, pflag.ErrHelp), errors.As(err, &number), !whole && errors.As(err, &lone):
		return nil // a page has N for a number
	case err != nil:
		return c.FlagErrorFunc()(c, err)
	case !whole && !c.HasSubCommands() || strings.Contains(strings.Join(args, " "), "…"):
		return nil
	}
	return c.ValidateArgs(c.Flags().Args())
}
