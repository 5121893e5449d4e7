package etcdnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// listening are the addresses on which this process accepts connections.
func listening(t *testing.T) (list []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	own := ownSocketInodes(t)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && own[f[9]] {
			_, port, _ := strings.Cut(f[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("127.0.0.1:%d", n))
		}
	}
	return list
}

// asker is a Joiner that asks a member in this process.
type asker struct {
	t   *testing.T
	at  *Node
	add func(id string) // called when the member was added
}

func (a *asker) Begin(context.Context, string) (*peerca.CA, []string, error) {
	return a.at.CA(), []string{a.at.PeerURL()}, nil
}

func (a *asker) Add(ctx context.Context, r Adding) (Added, error) {
	said, err := a.at.Ask(ctx, r.PeerURL, JoinPath)
	if err != nil || said != r.Name {
		a.t.Errorf("the new member is not found at %s: %q %v", r.PeerURL, said, err)
	}
	id := r.MemberID
	if !slices.ContainsFunc(a.at.Members(), func(m api.Member) bool { return m.ID == id }) {
		if id, err = a.at.AddLearner(ctx, r.PeerURL); err != nil {
			return Added{}, err
		}
	}
	out := Added{MemberID: id}
	for _, m := range a.at.Members() {
		out.Members = append(out.Members, Peer{ID: m.ID, Name: m.Name, PeerURL: m.PeerURL})
	}
	if a.add != nil {
		a.add(id)
	}
	return out, nil
}

func peerConfig(t *testing.T, name string) Config {
	t.Helper()
	return Config{DataDir: filepath.Join(t.TempDir(), name), Name: name, Peer: PeerConfig{Listen: freeAddress(t)}}
}

// Whoever reaches the peer port could read and write everything there: it lets
// in members alone.
func TestPeerPort_LetsInMembersOfThisClusterAlone(t *testing.T) {
	cfg := peerConfig(t, "a")
	n := startNode(t, cfg)
	url := "https://" + cfg.Peer.Listen
	if got := listening(t); !slices.Equal(got, []string{cfg.Peer.Listen}) {
		t.Errorf("this process listens on %v, want %s alone", got, cfg.Peer.Listen)
	}
	if _, err := n.Ask(t.Context(), url, "/members"); err != nil {
		t.Fatalf("a member: %v", err)
	}
	if _, err := http.Get("http://" + cfg.Peer.Listen + "/members"); err == nil {
		t.Error("plain HTTP was answered")
	}
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	if _, err := bare.Get(url + "/members"); err == nil {
		t.Error("one without a certificate was answered")
	}
	other := startNode(t, peerConfig(t, "b"))
	if _, err := Ask(t.Context(), other.PeerFiles(), n.CA(), url, "/members"); err == nil {
		t.Error("a member of another cluster was answered")
	}
}

// Two that join at the same moment change the members under each other's feet.
func TestJoin_GoesOnWhenAnotherJoinsMeanwhile(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	once := false
	cfg.Join = &asker{t: t, at: first, add: func(string) {
		if !once {
			once = true
			if _, err := first.AddLearner(t.Context(), "https://"+freeAddress(t)); err != nil {
				t.Error(err)
			}
		}
	}}
	second := startNode(t, cfg)
	if got := second.Members(); len(got) != 3 || second.Bootstrapped() {
		t.Errorf("members are %+v", got)
	}
	put(t, second, "written", "at the second") // a learner hands it on
	r, err := first.Client().Get(t.Context(), "written")
	if err != nil || len(r.Kvs) != 1 {
		t.Errorf("at the first: %v, %v", r, err)
	}
}

// It took too long, and the cluster let go of it before its first start.
func TestJoin_GoesOnWhenItWasLetGoOfMeanwhile(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	gone := ""
	cfg.Join = &asker{t: t, at: first, add: func(id string) {
		if gone == "" {
			gone = id
			if err := first.Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}}
	second := startNode(t, cfg)
	if got := second.Members(); len(got) != 2 || second.MemberID() == gone {
		t.Errorf("it is %s, was %s; members are %+v", second.MemberID(), gone, got)
	}
	put(t, second, "written", "at the second")
}

// The same after it had begun to copy the data: what it has is of a member that
// is none any more.
func TestJoin_BeginsAnewWithTheLogOfAMemberThatWasLetGo(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	cfg.Join = &asker{t: t, at: first}
	second := startNode(t, cfg)
	gone := second.MemberID()
	stopNode(t, second)
	m, err := readMarker(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	m.Complete, m.Joining = false, &joining{MemberID: gone, Members: "b=" + second.PeerURL()} // as it was before it was ready
	if err := m.write(cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := first.Remove(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	second = startNode(t, cfg)
	if got := second.Members(); len(got) != 2 || second.MemberID() == gone {
		t.Errorf("it is %s, was %s; members are %+v", second.MemberID(), gone, got)
	}
}

// What a start has begun in the folder decides nothing as long as nobody was
// served from it, but a join is never taken for a new cluster.
func TestJoin_GoesOnFromWhatWasBegun(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	begun := newMarker("b")
	begun.Joining = &joining{MemberID: "1"} // whose log was lost
	if err := begun.write(cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrJoining) {
		t.Errorf("without a cluster to join: %v, want ErrJoining", err)
	}
	cfg.Join = &asker{t: t, at: first}
	n := startNode(t, cfg)
	if n.MemberID() == "1" || len(n.Members()) != 2 {
		t.Errorf("it is %s of %+v", n.MemberID(), n.Members())
	}

	other := peerConfig(t, "c")
	if err := os.MkdirAll(other.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := newMarker("c").write(other.DataDir); err != nil { // of a bootstrap that was cut off
		t.Fatal(err)
	}
	other.Join = &asker{t: t, at: first}
	if n := startNode(t, other); n.Bootstrapped() || len(n.Members()) != 3 {
		t.Errorf("after a bootstrap that was cut off it is of %+v", n.Members())
	}
}

func TestJoin_IsNotBegunWithoutAnAddressForTheOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, err := Start(t.Context(), Config{DataDir: dir, Join: &asker{}})
	if !errors.Is(err, ErrNoPeerAddress) {
		t.Errorf("err is %v, want ErrNoPeerAddress", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("a data folder was made all the same")
	}
}

// An address that cannot be had leaves no data behind.
func TestStart_SaysThatItsAddressForTheOthersIsTaken(t *testing.T) {
	cfg := peerConfig(t, "a")
	l, err := net.Listen("tcp", cfg.Peer.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--peer-listen") {
		t.Errorf("err is %v", err)
	}
	if _, err := readMarker(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cluster was begun all the same: %v", err)
	}
}

// What a member of several must have is not made anew, and not left out.
func TestStart_OfOneOfSeveralNeedsItsAddressAndTheAuthority(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	cfg.Join = &asker{t: t, at: first}
	second := startNode(t, cfg)
	stopNode(t, second)
	cfg.Join = nil

	bare := cfg
	bare.Peer = PeerConfig{}
	if _, err := Start(t.Context(), bare); !errors.Is(err, ErrNoPeerAddress) {
		t.Errorf("without an address: %v, want ErrNoPeerAddress", err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.DataDir, "peer")); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), cfg)
	if !errors.Is(err, peerca.ErrMissing) || !strings.Contains(err.Error(), "cluster replace b-") {
		t.Errorf("without the authority: %v", err)
	}
}

// A member that is removed ends, and its folder is not started again.
func TestRemoved_EndsForGoodAndSaysWhy(t *testing.T) {
	first := startNode(t, peerConfig(t, "a"))
	cfg := peerConfig(t, "b")
	cfg.Join = &asker{t: t, at: first}
	second := startNode(t, cfg)
	if err := first.Remove(t.Context(), second.MemberID()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-second.Fatal():
		if !errors.Is(err, ErrRemoved) {
			t.Errorf("it ended with %v, want ErrRemoved", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	if second.HasLeader() || len(second.Members()) != 0 {
		t.Error("it says that it serves")
	}
	stopNode(t, second)
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrRemoved) {
		t.Errorf("started again: %v, want ErrRemoved", err)
	}
}
