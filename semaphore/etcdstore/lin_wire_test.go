package etcdstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// The wire between the tests and a store's process: one connection for each
// request, one line of JSON each way. Whoever hangs up is gone.

// The requests that are no op of the semaphore.
type (
	readGroup struct{}
	setFleet  struct{ Freeze semaphore.Freeze }
	liftFleet struct{ ID, By string }
)

type wireRequest struct {
	Prefix, Group, Kind string
	Op                  json.RawMessage
	Wait                time.Duration
}

type wireReply struct {
	Answer semaphore.Answer
	Read   *wireState `json:",omitempty"`
	Err    string     `json:",omitempty"`
}

// wireState is what a read tells of a group.
type wireState struct {
	Exists        bool
	Next          int64
	Slots         semaphore.Slots
	Freeze, Fleet *semaphore.Freeze
	Holds         map[string]semaphore.Hold
}

// kinds knows how to read each request.
var kinds = map[string]func(json.RawMessage) (any, error){}

func register[T any](kind string) {
	kinds[kind] = func(b json.RawMessage) (any, error) {
		var v T
		err := json.Unmarshal(b, &v)
		return v, err
	}
}

func init() {
	register[semaphore.Acquire]("Acquire")
	register[semaphore.Confirm]("Confirm")
	register[semaphore.Release]("Release")
	register[semaphore.Revoke]("Revoke")
	register[semaphore.ForceRelease]("ForceRelease")
	register[semaphore.Expire]("Expire")
	register[semaphore.PutSpec]("PutSpec")
	register[semaphore.DeleteGroup]("DeleteGroup")
	register[semaphore.SetFreeze]("SetFreeze")
	register[semaphore.LiftFreeze]("LiftFreeze")
	register[semaphore.PutMember]("PutMember")
	register[semaphore.SetDown]("SetDown")
	register[readGroup]("readGroup")
	register[setFleet]("setFleet")
	register[liftFleet]("liftFleet")
}

// kindOf is the last part of the type's name.
func kindOf(op any) string {
	name := fmt.Sprintf("%T", op)
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return name[i+1:]
		}
	}
	return name
}

// ask sends a request to a store's process. The first result says whether it
// was sent; with an error behind that, its outcome is unknown.
func (l *lab) ask(ctx context.Context, store int, prefix, group string, op any, wait time.Duration) (bool, wireReply, error) {
	conn, err := l.dial(ctx, store)
	if err != nil {
		return false, wireReply{}, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	value, err := json.Marshal(op)
	if err != nil {
		return false, wireReply{}, err
	}
	if err := json.NewEncoder(conn).Encode(wireRequest{prefix, group, kindOf(op), value, wait}); err != nil {
		return true, wireReply{}, err
	}
	var reply wireReply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return true, wireReply{}, err
	}
	if reply.Err != "" {
		return true, wireReply{}, errors.New(reply.Err)
	}
	return true, reply, nil
}

// server is a store's process: a Store for each prefix that it is asked about.
type server struct {
	ctx    context.Context
	client *clientv3.Client
	broken breakage
	lease  time.Duration

	mu     sync.Mutex
	stores map[string]*etcdstore.Store
}

// hurry is how much faster the clock of the stores goes, so that the times of
// the rules pass within a test. All processes agree about it.
const hurry = 20

var hurryFrom = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func hurriedNow() time.Time { return hurryFrom.Add(time.Since(hurryFrom) * hurry) }

func runStore(ctx context.Context, dir string, ready func()) error {
	client, err := dialEtcd(dir)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &server{ctx: ctx, stores: map[string]*etcdstore.Store{}, broken: breakage(os.Getenv(envBreak))}
	s.client = s.broken.client(client)
	if lease := os.Getenv(envLease); lease != "" {
		if s.lease, err = time.ParseDuration(lease); err != nil {
			return err
		}
	}
	path := storeSocket(dir, os.Getenv(envName))
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	ready()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil // told to end
		}
		go s.serve(conn)
	}
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	ctx, hungUp := context.WithCancel(s.ctx)
	defer hungUp()
	var request wireRequest
	if json.NewDecoder(conn).Decode(&request) != nil {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		hungUp()
	}()
	reply, err := s.answer(ctx, request)
	if err != nil {
		reply = wireReply{Err: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(reply)
}

func (s *server) answer(ctx context.Context, r wireRequest) (wireReply, error) {
	read := kinds[r.Kind]
	if read == nil {
		return wireReply{}, fmt.Errorf("no request %q", r.Kind)
	}
	op, err := read(r.Op)
	if err != nil {
		return wireReply{}, err
	}
	store, err := s.store(ctx, r.Prefix)
	if err != nil {
		return wireReply{}, err
	}
	if reply, done, err := s.broken.answer(ctx, s, store, r, op); done {
		return reply, err
	}
	var reply wireReply
	switch op := op.(type) {
	case readGroup:
		var st semaphore.State
		if st, err = store.Read(ctx, r.Group); err == nil {
			reply.Read = &wireState{st.Exists(), st.Head.Next, st.Spec.Slots, st.Head.Freeze, st.Freeze, st.Plain().Holds}
		}
	case setFleet:
		var f semaphore.Freeze
		f, err = store.Freeze(ctx, op.Freeze)
		reply.Answer.Freeze = &f
	case liftFleet:
		reply.Answer, err = store.Unfreeze(ctx, op.ID, op.By)
	case semaphore.Acquire:
		reply.Answer, err = store.Acquire(ctx, r.Group, &op, r.Wait)
	default:
		reply.Answer, err = store.Do(ctx, r.Group, op.(semaphore.Op))
	}
	return reply, err
}

// store is that of a prefix, started when it is first asked about.
func (s *server) store(ctx context.Context, prefix string) (*etcdstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store := s.stores[prefix]; store != nil {
		return store, nil
	}
	store := etcdstore.New(etcdstore.Config{Client: s.client, Prefix: prefix, Now: hurriedNow, LeaseTTL: s.lease})
	if err := store.Start(ctx); err != nil {
		store.Stop()
		return nil, err
	}
	s.stores[prefix] = store
	return store, nil
}
