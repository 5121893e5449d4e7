package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func savedJournal(t *testing.T) (folder, State) {
	t.Helper()
	f := folder{t.TempDir()}
	s := State{Phase: api.PhaseApplying, Group: "web", Cluster: "c", Job: &Job{Bundle: "b", Name: "a name with <, > and ü"}, Request: "r", Fence: 3, Drain: DrainDone, Tries: map[string]int{"b": 1}}
	if err := f.saveState(s); err != nil {
		t.Fatal(err)
	}
	return f, s
}

func TestJournal_GivesBackWhatWasWritten(t *testing.T) {
	f, s := savedJournal(t)
	got, err := ReadJournal(f.dir)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestJournal_AFolderWithoutOneIsAnIdleAgent(t *testing.T) {
	s, err := ReadJournal(t.TempDir())
	if err != nil || s.Phase != api.PhaseIdle {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestJournal_CutOffAnywhereIsDamagedAndNeverBelieved(t *testing.T) {
	f, _ := savedJournal(t)
	file := f.path("journal.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 1 { // the last byte is a line end
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadJournal(f.dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: %+v, %v", n, len(whole), s, err)
		}
	}
}

func TestJournal_AChangedByteIsFound(t *testing.T) {
	f, _ := savedJournal(t)
	file := f.path("journal.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(whole, []byte(`"fence":3`), []byte(`"fence":4`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadJournal(f.dir)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "checksum") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestJournal_OfANewerAgentIsRefused(t *testing.T) {
	f, _ := savedJournal(t)
	if err := os.WriteFile(f.path("journal.json"), []byte(`{"v":2,"state":{"phase":"levitating"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJournal(f.dir); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v", err)
	}
}

func TestInstance_IsMadeOnceAndKept(t *testing.T) {
	f := folder{t.TempDir()}
	a, err := f.instance()
	if err != nil || len(a) < 20 {
		t.Fatalf("%q, %v", a, err)
	}
	if b, err := f.instance(); err != nil || b != a {
		t.Errorf("%q, then %q, %v", a, b, err)
	}
}

func TestRun_TwoAgentsDoNotShareAStateFolder(t *testing.T) {
	w := newWorld(t)
	unlock, err := folder{w.cfg.StateDir}.make()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := New(w.cfg).Run(context.Background()); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestRun_SaysWhatIsMissingInTheConfiguration(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(c *Config){
		"node":     func(c *Config) { c.Node = "" },
		"group":    func(c *Config) { c.Group = "a b" },
		"StateDir": func(c *Config) { c.StateDir = "" },
	} {
		cfg := w.cfg
		change(&cfg)
		if err := New(cfg).Run(context.Background()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTrust_MendsADamagedPin(t *testing.T) {
	f := folder{t.TempDir()}
	if err := os.WriteFile(f.path("cluster.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPin(f.dir); err == nil || !strings.Contains(err.Error(), "lockkeeper-agent trust") {
		t.Errorf("got %v", err)
	}
	if _, err := Trust(f.dir); err != nil {
		t.Error(err)
	}
	if p, err := ReadPin(f.dir); err != nil || p != (Pin{}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if was, err := Trust(f.dir); err != nil || was != (Pin{}) {
		t.Errorf("again: %+v, %v", was, err)
	}
}
