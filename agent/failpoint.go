//go:build failpoint

package agent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// A program built with this tag, which none that is shipped is, writes each step
// into the file LOCKKEEPER_FAILPOINT_STEPS, over all its starts, and kills itself
// at the one numbered LOCKKEEPER_FAILPOINT_AT; 1 is the first.
func init() {
	file := os.Getenv("LOCKKEEPER_FAILPOINT_STEPS")
	if file == "" {
		return
	}
	at, _ := strconv.Atoi(os.Getenv("LOCKKEEPER_FAILPOINT_AT"))
	builtin = func(step string) error {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := fmt.Fprintln(f, step); err != nil {
			return err
		}
		all, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.Count(all, []byte("\n")) == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing more is done meanwhile
		}
		return nil
	}
}
