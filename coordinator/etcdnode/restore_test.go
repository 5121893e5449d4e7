package etcdnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

var discard = slog.New(slog.DiscardHandler)

// snapshotOf takes a snapshot of a running node into a file.
func snapshotOf(t *testing.T, n *Node) string {
	t.Helper()
	r, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "a"+snapshotfile.Suffix)
	if _, err := snapshotfile.Write(path, r); err != nil {
		t.Fatal(err)
	}
	return path
}

// snapshotWith has the identity of a cluster, and "slot" given to whom.
func snapshotWith(t *testing.T, slot string) (path string, revision int64) {
	t.Helper()
	cfg := config(t.TempDir())
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stopNode(t, n)
	put(t, n, "/lockkeeper/cluster/identity", `{"id":"c"}`)
	put(t, n, "slot", slot)
	return snapshotOf(t, n), n.Revision()
}

func restoreConfig(file, dir string) RestoreConfig {
	return RestoreConfig{
		Config: config(dir), File: file, Prefix: "/lockkeeper/",
		Prepare: func(ctx context.Context, n *Node) error {
			_, err := n.Client().Put(ctx, "prepared", "yes")
			return err
		},
	}
}

func value(t *testing.T, n *Node, key string) string {
	t.Helper()
	r, err := n.Client().Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

func TestRestore_DataAreBackPreparedAndRevisionsGoOnEachTime(t *testing.T) {
	file, revision := snapshotWith(t, "node-1")
	info, err := CheckSnapshot(file, "/lockkeeper/", discard)
	if err != nil || info.Revision != revision || info.Keys != 2 {
		t.Fatalf("the check says %+v, %v; want revision %d and 2 keys", info, err, revision)
	}
	last := revision + revisionJump - 1
	for range 2 {
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(t.Context(), restoreConfig(file, dir)); err != nil {
			t.Fatal(err)
		}
		n, err := Start(t.Context(), config(dir))
		if err != nil {
			t.Fatal(err)
		}
		if n.Bootstrapped() || value(t, n, "slot") != "node-1" || value(t, n, "prepared") != "yes" {
			t.Errorf("bootstrapped %v, slot %q, prepared %q", n.Bootstrapped(), value(t, n, "slot"), value(t, n, "prepared"))
		}
		if n.Revision() <= last {
			t.Errorf("revision %d, want above %d", n.Revision(), last)
		}
		last = n.Revision()
		stopNode(t, n)
	}
}

func TestRestore_KeysOfBeforeAreComparedAndAWatchOfBeforeBeginsAnew(t *testing.T) {
	file, revision := snapshotWith(t, "node-1")
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Restore(t.Context(), restoreConfig(file, dir)); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, config(dir))
	txn, err := n.Client().Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision("slot"), "=", revision)).
		Then(clientv3.OpPut("slot", "node-2")).Commit()
	if err != nil || !txn.Succeeded {
		t.Errorf("compare and swap of an old key: %+v, %v", txn, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if resp := <-n.Client().Watch(ctx, "slot", clientv3.WithRev(revision+1)); resp.CompactRevision == 0 {
		t.Errorf("a watch of before goes on: %+v", resp)
	}
}

func TestRestore_WhatIsNoWholeSnapshotOfOursIsRefusedAndNothingIsWritten(t *testing.T) {
	file, _ := snapshotWith(t, "node-1")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	foreign := startNode(t, config(t.TempDir()))
	put(t, foreign, "/registry/pods/default/web", "somebody else's")
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"cut short":         {whole[:len(whole)-4096], snapshotfile.ErrDamaged},
		"cut anywhere":      {whole[:len(whole)/3], snapshotfile.ErrNoSnapshot},
		"one bit flipped":   {flipped, snapshotfile.ErrDamaged},
		"a database file":   {whole[:len(whole)-32], snapshotfile.ErrNoSnapshot},
		"something else":    {[]byte("#!/bin/sh\n"), snapshotfile.ErrNoSnapshot},
		"of something else": {read(t, snapshotOf(t, foreign)), ErrForeignSnapshot},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b"+snapshotfile.Suffix)
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "data")
			if _, err := Restore(t.Context(), restoreConfig(path, dir)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("err is %v, want %v", err, c.want)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Error("a folder was made all the same")
			}
		})
	}
}

func digest(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whole by its digest, and not by its pages: what wrote it was damaged already.
func TestCheckSnapshot_FindsADamagedPageUnderARightDigest(t *testing.T) {
	file, _ := snapshotWith(t, "node-1")
	data := read(t, file)
	data = data[:len(data)-32]
	for i := 4096 * 2; i < len(data); i++ {
		data[i] ^= 0x5a
	}
	path := filepath.Join(t.TempDir(), "b"+snapshotfile.Suffix)
	if _, err := snapshotfile.Write(path, io.MultiReader(bytes.NewReader(data), bytes.NewReader(digest(data)))); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckSnapshot(path, "/lockkeeper/", discard); !errors.Is(err, snapshotfile.ErrDamaged) {
		t.Errorf("err is %v", err)
	}
}

// One that a later version wrote is whole, and not for this program.
func TestRestore_ASnapshotOfALaterVersionIsSaidAndNothingIsWritten(t *testing.T) {
	file, _ := snapshotWith(t, "node-1")
	data := read(t, file)
	db := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(db, data[:len(data)-sha256.Size], 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(db, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("storageVersion"), []byte("3.9.0"))
	})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	data = read(t, db)
	path := filepath.Join(t.TempDir(), "b"+snapshotfile.Suffix)
	if _, err := snapshotfile.Write(path, io.MultiReader(bytes.NewReader(data), bytes.NewReader(digest(data)))); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Restore(t.Context(), restoreConfig(path, dir)); err == nil || !strings.Contains(err.Error(), "the form of etcd 3.9.0") {
		t.Errorf("err is %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("a folder was made all the same")
	}
}

func TestRestore_FolderThatIsNotEmptyIsLeftAsItIs(t *testing.T) {
	file, _ := snapshotWith(t, "node-1")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), restoreConfig(file, dir)); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "letters") {
		t.Errorf("err is %v", err)
	}
	if left, _ := contents(dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	live := startNode(t, config(t.TempDir()))
	if _, err := Restore(t.Context(), restoreConfig(file, live.cfg.DataDir)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a live folder: %v", err)
	}
}

// Restored data that nobody prepared have the old fences: they must not be
// served, however the restore ended.
func TestRestore_CutOffIsNeverServedAndIsDoneAgain(t *testing.T) {
	file, _ := snapshotWith(t, "node-1")
	dir := filepath.Join(t.TempDir(), "data")
	cut := restoreConfig(file, dir)
	cut.Prepare = func(context.Context, *Node) error { return errors.New("the power went") }
	if _, err := Restore(t.Context(), cut); err == nil || !strings.Contains(err.Error(), "the power went") {
		t.Fatalf("err is %v", err)
	}
	if _, err := Start(t.Context(), config(dir)); !errors.Is(err, ErrRestoring) || !strings.Contains(err.Error(), "lockkeeperd restore") {
		t.Fatalf("a restore that was cut off was started: %v", err)
	}
	if _, err := Restore(t.Context(), restoreConfig(file, dir)); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, config(dir))
	if value(t, n, "slot") != "node-1" || value(t, n, "prepared") != "yes" {
		t.Error("the second restore did not do everything")
	}
}
