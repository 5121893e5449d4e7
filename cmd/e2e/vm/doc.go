// Package vm holds the tests on machines of their own: whole kernels in QEMU
// that reboot by reboot(2) and lose power, and a systemd as the first process of
// a container. docs/testing.md says how to run them and what each shows.
package vm
