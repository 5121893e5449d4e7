package etcdnode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childDir names the folder on which this binary, run as another process,
// starts a node, writes a key, and waits to be killed.
const childDir = "ETCDNODE_TEST_CHILD_DIR"

// childPeer is where the other members find that node, if there are any.
const childPeer = "ETCDNODE_TEST_CHILD_PEER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

func child(dir string) int {
	cfg := config(dir)
	cfg.Peer.Listen = os.Getenv(childPeer)
	n, err := Start(context.Background(), cfg)
	if err == nil {
		_, err = n.Client().Put(context.Background(), "written", "by the child")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	<-n.Fatal()
	return 1
}

// startChild starts a node in a process of its own, and returns when it has
// written.
func startChild(t *testing.T, dir, peer string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childPeer+"="+peer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd
}

func TestKilledProcess_LosesNothingAndLetsGoOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	cmd := startChild(t, dir, "")
	_, err := Start(t.Context(), config(dir))
	if want := fmt.Sprintf("process %d", cmd.Process.Pid); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("err is %v, want ErrLocked by %s", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed process ended well")
	}
	n := startNode(t, config(dir))
	r, err := n.Client().Get(t.Context(), "written")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "by the child" {
		t.Errorf("Get: %v, %v", r, err)
	}
}
