// Command guest is the first process of a test machine: it loads the modules of
// its initramfs, makes the disk its root, brings the network up, answers pings,
// and keeps the agent or a coordinator running, as a host's init would. It is
// linked into no program that is shipped.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the first process of a test machine, and does nothing elsewhere")
		os.Exit(2)
	}
	fmt.Println("guest:", boot())
	// There is nothing here that could mend it: end the machine, so that the test sees.
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot returns only what keeps the machine from going on.
func boot() error {
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := enterDisk("/dev/vda"); err != nil {
		return err
	}
	if err := bringUp("lo", [4]byte{127, 0, 0, 1}, 8); err != nil {
		return err
	}
	if err := bringUp("eth0", [4]byte{10, 0, 2, 15}, 24); err != nil {
		return err
	}
	if err := routeAll([4]byte{10, 0, 2, 2}); err != nil {
		return err
	}
	if err := answerPings(); err != nil {
		return err
	}
	if err := forward("/etc/lockkeeper/guest.forward"); err != nil {
		return err
	}
	const coordinator = "/usr/bin/lockkeeperd"
	if _, err := os.Stat(coordinator); err == nil {
		return supervise("/etc/lockkeeper/lockkeeperd.env", coordinator, "serve")
	}
	return supervise("/etc/lockkeeper/agent.env", "/usr/bin/lockkeeper-agent", "run")
}

// supervise runs a program for ever, as `Restart=always` does, and collects
// every process that lost its parent.
func supervise(envFile string, program ...string) error {
	env, err := os.ReadFile(envFile)
	if err != nil {
		return err
	}
	for {
		pid, err := syscall.ForkExec(program[0], program, &syscall.ProcAttr{
			Dir: "/", Env: lines(env), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			return fmt.Errorf("starting %s: %w", program[0], err)
		}
		for {
			var status syscall.WaitStatus
			ended, err := syscall.Wait4(-1, &status, 0, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil {
				return fmt.Errorf("waiting for %s: %w", program[0], err)
			}
			if ended == pid {
				fmt.Printf("guest: %s ended: exit status %d, signal %d\n", program[0], status.ExitStatus(), status.Signal())
				break
			}
		}
		time.Sleep(time.Second)
	}
}
