package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// The exit codes. exitCodesText and docs/cli.md say what each means.
const (
	exitOK           = 0
	exitPerson       = 1
	exitUsage        = 2
	exitUnreachable  = 3
	exitRefused      = 4
	exitUnauthorised = 5
	exitNotFound     = 6
	exitInterrupted  = 130
)

const exitCodesText = `The exit codes of lockkeeper:

  0    done; for status: nothing needs a person
  1    something needs a person (status), the rollout failed, halted or was
       aborted (rollout watch; rollout start or show with --wait), a snapshot is
       not whole (snapshot verify), or the coordinator failed inside
  2    wrong flag, argument, variable or file; or the coordinator found the
       request invalid
  3    no coordinator answered, or none can serve now (no quorum, disk low, too
       many requests); or --timeout ran out: the same command may be run again
  4    refused as things stand: conflict, changed meanwhile, in use, held by
       another, or blocked by a slot, limit, window, blackout or freeze
  5    no token, a wrong one, or one whose role may not do this
  6    no such group, node, hold, bundle, rollout or token
  130  interrupted, by Ctrl-C or a signal`

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What each exit code means", Long: exitCodesText}
}

// usageError is a mistake on the command line, in a variable or in a file.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// notFoundf reports something that was looked for among what the coordinator
// listed.
func notFoundf(format string, args ...any) error { return api.Errorf(api.NotFound, format, args...) }

// outcome ends the program with a code when the output has said why already.
type outcome int

func (o outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// exit reports the error in one line and chooses the code.
func (a *app) exit(cmd *cobra.Command, err error, interrupted bool) int {
	code := exitCode(err)
	var silent outcome
	switch {
	case err == nil || errors.As(err, &silent):
		return code
	case interrupted:
		return exitInterrupted
	}
	name := "lockkeeper"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	fmt.Fprintf(a.err, "%s: %s%s\n", name, errorLine(err), needsMore(cmd, err))
	if code == exitUsage && cmd != nil {
		fmt.Fprintf(a.err, "See %q.\n", name+" --help")
	}
	return code
}

func exitCode(err error) int {
	var (
		done    outcome
		usage   usageError
		env     *cli.EnvError
		refused *api.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.As(err, &usage), errors.As(err, &env):
		return exitUsage
	case errors.As(err, &refused):
		return kindCode(refused.Kind)
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exitUnreachable
	}
	return exitPerson
}

func kindCode(kind api.Kind) int {
	switch kind {
	case api.Invalid, api.TooLarge:
		return exitUsage
	case api.Unauthenticated, api.Forbidden:
		return exitUnauthorised
	case api.UnknownGroup, api.NotFound:
		return exitNotFound
	case api.NoQuorum, api.NewerSchema, api.DiskLow, api.Rate:
		return exitUnreachable
	case api.Internal:
		return exitPerson
	}
	return exitRefused
}

// errorLine is an error on one line: what, where, what is accepted, and the id
// under which the coordinator logged it.
func errorLine(err error) string {
	text := oneLine(err.Error())
	var e *api.Error
	if !errors.As(err, &e) {
		return text
	}
	for _, f := range e.Fields {
		text = strings.ReplaceAll(text, f.Path, fieldPath(f))
	}
	var b strings.Builder
	b.WriteString(text)
	sep := ": "
	for _, f := range e.Fields {
		// The sentence may have named the field already.
		if field := oneLine(fieldPath(f) + ": " + f.Detail); !strings.Contains(text, field) {
			b.WriteString(sep + field)
		}
		sep = "; "
	}
	for _, bl := range e.Blockers {
		if !strings.Contains(text, bl.Detail) {
			b.WriteString("; " + oneLine(bl.Detail))
		}
	}
	if e.Place > 0 {
		fmt.Fprintf(&b, "; place %d in the queue", e.Place)
	}
	switch {
	case e.RetryAfter > 0:
		fmt.Fprintf(&b, "; try again in %s", cli.Span(e.RetryAfter))
	case e.Kind == api.Unauthenticated:
		fmt.Fprintf(&b, "; give a token by %s or --token-file", tokenVariable)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", oneLine(e.RequestID))
	}
	return b.String()
}

// fieldPath is a field by its path in a file: that it went into the body of a
// request is nothing that a person did.
func fieldPath(f api.FieldError) string { return strings.TrimPrefix(f.Path, "body.") }

func oneLine(s string) string {
	return cli.Cell(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; "))
}
