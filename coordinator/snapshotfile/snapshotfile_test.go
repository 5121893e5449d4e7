package snapshotfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// whole is a snapshot of two pages.
func whole() []byte {
	data := bytes.Repeat([]byte("lockkeep"), 1024)
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

func TestWrite_WhatArrivesAsAWholeIsKeptAndFoundWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a"+Suffix)
	made, err := Write(path, bytes.NewReader(whole()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := Verify(path)
	if err != nil || found.SHA256 != made.SHA256 || found.Size != 8192+32 || made.Path != path {
		t.Errorf("made %+v, found %+v, %v", made, found, err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %s: others may read the tokens' digests", st.Mode())
	}
	if _, err := Write(path, bytes.NewReader(whole())); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("written over: %v", err)
	}
}

func TestWrite_WhatDoesNotArriveAsAWholeLeavesNothing(t *testing.T) {
	flipped := whole()
	flipped[100] ^= 1
	for name, src := range map[string]io.Reader{
		"broken off":         io.MultiReader(bytes.NewReader(whole()[:5000]), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"cut short":          bytes.NewReader(whole()[:5000]),
		"cut at a page":      bytes.NewReader(whole()[:4096]),
		"without its digest": bytes.NewReader(whole()[:8192]),
		"one bit flipped":    bytes.NewReader(flipped),
		"empty":              strings.NewReader(""),
		"something else":     strings.NewReader(strings.Repeat("no snapshot\n", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := Write(filepath.Join(dir, "a"+Suffix), src); err == nil || !strings.Contains(err.Error(), "nothing is kept") {
				t.Errorf("err is %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestVerify_SaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	swapped := whole()
	swapped[4000] ^= 0x80
	for path, want := range map[string]error{
		file("short", whole()[:7000]): ErrNoSnapshot,
		file("bit", swapped):          ErrDamaged,
		filepath.Join(dir, "none"):    os.ErrNotExist,
		dir:                           ErrNoSnapshot,
	} {
		if _, err := Verify(path); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestRemoveParts_LeavesWhatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".snapshot-1.part"), filepath.Join(dir, ".snapshot-2.part")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	if err := RemoveParts(dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".snapshot-*")); len(left) != 1 || left[0] != young {
		t.Errorf("left %v", left)
	}
}
