package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
)

// peerURL names a member that no other can find. Nothing listens there: a single
// member has nobody to talk to.
const peerURL = "http://127.0.0.1:2380"

func (n *Node) etcdConfig(m *marker) (*embed.Config, error) {
	advertise, err := url.Parse(n.cfg.AdvertiseURL)
	if err != nil || advertise.Host == "" && advertise.Scheme != "unix" {
		return nil, fmt.Errorf("advertised URL %q: want one such as http://127.0.0.1:8080", n.cfg.AdvertiseURL)
	}
	if advertise.Host != "" && advertise.Port() == "" {
		// etcd insists on a port.
		advertise.Host += map[string]string{"https": ":443"}[advertise.Scheme]
		if advertise.Port() == "" {
			advertise.Host += ":80"
		}
	}
	peer, err := url.Parse(n.cfg.Peer.url())
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = m.Name
	cfg.Dir = filepath.Join(n.cfg.DataDir, etcdDir)
	cfg.ListenClientUrls = nil
	cfg.ListenClientHttpUrls = nil
	cfg.ListenPeerUrls = nil
	// Always advertised: without it etcd's own guard against bootstrapping
	// twice is off.
	cfg.AdvertiseClientUrls = []url.URL{*advertise}
	cfg.AdvertisePeerUrls = []url.URL{*peer}
	cfg.ClusterState = embed.ClusterStateFlagNew
	cfg.InitialCluster = m.Name + "=" + peer.String()
	if m.Joining != nil {
		cfg.ClusterState, cfg.InitialCluster = embed.ClusterStateFlagExisting, m.Joining.Members
	}
	n.cfg.Peer.apply(cfg, n.cfg.DataDir)
	cfg.InitialClusterToken = m.Token
	cfg.TickMs = uint(n.cfg.Heartbeat.Milliseconds())
	cfg.ElectionMs = uint(n.cfg.Election.Milliseconds())
	cfg.QuotaBackendBytes = n.cfg.Quota
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = "5m"
	cfg.MaxTxnOps = MaxTxnOps
	cfg.MaxLearners = 2
	cfg.EnableGRPCGateway = false
	cfg.ForceNewCluster = n.forced
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZapLogger(n.cfg.Logger, lastWords{n.end}, &n.said))
	gates, ok := cfg.ServerFeatureGate.(featuregate.MutableFeatureGate)
	if !ok {
		return nil, errors.New("etcd's feature gates cannot be set")
	}
	if err := gates.SetFromMap(map[string]bool{"InitialCorruptCheck": !n.forced, "CompactHashCheck": true}); err != nil {
		return nil, fmt.Errorf("etcd's feature gates: %w", err)
	}
	return cfg, nil
}

// aloneAfter is how long, beyond an election, a member of several waits for a
// majority before it serves what it last knew.
const aloneAfter = 4 * time.Second

// joinFactor is how many times as long a new member may take to be ready: it
// copies all data first.
const joinFactor = 15

type started struct {
	etcd *embed.Etcd
	err  error
}

// startEtcd runs StartEtcd in a goroutine of its own, since a fatal message
// blocks it for ever, and waits on all the ways in which a start can end.
func (n *Node) startEtcd(ctx context.Context, m *marker) error {
	cfg, err := n.etcdConfig(m)
	if err != nil {
		return err
	}
	within := n.cfg.StartTimeout
	if n.joining {
		within *= joinFactor
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("etcd was not ready after %s", within))
	defer cancel()

	result := make(chan started, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				err := fmt.Errorf("etcd panicked while it read its log and database: %v", r)
				if said := n.said.last.Load(); said != nil {
					err = fmt.Errorf("%w (before that: %s)", err, *said)
				}
				result <- started{err: err}
			}
		}()
		e, err := embed.StartEtcd(cfg)
		result <- started{e, err}
	}()

	var s started
	select {
	case s = <-result:
	case err := <-n.fatal:
		return n.failed(err)
	case <-ctx.Done():
		n.over.Store(true)
		go func() { // let go of what still comes up
			if s := <-result; s.etcd != nil {
				s.etcd.Server.Stop()
				s.etcd.Close()
			}
		}()
		return context.Cause(ctx)
	}
	if s.err != nil {
		return n.failed(s.err)
	}
	n.etcd, n.id = s.etcd, s.etcd.Server.MemberID()
	if n.cfg.Peer.Listen == "" && !n.forced && len(n.etcd.Server.Cluster().Members()) > 1 {
		return errors.Join(fmt.Errorf("data folder %s: %w: this one is one of several; give --peer-listen", n.cfg.DataDir, ErrNoPeerAddress), n.close())
	}
	var alone <-chan time.Time // never, for a member that must have come up
	if m.Complete && !n.forced && len(n.etcd.Server.Cluster().Members()) > 1 {
		alone = time.After(n.cfg.Election + aloneAfter)
	}
	select {
	case <-n.etcd.Server.ReadyNotify():
		return nil
	case <-alone:
		if n.etcd.Server.Leader() != 0 {
			n.cfg.Logger.Warn("this member is up and still catching up with the others")
			return nil
		}
		n.cfg.Logger.Error("this member is up and most of the others are not: what it knows may be read, marked as stale, and nothing can be changed until a majority is there",
			"hint", "if no majority can come back, `lockkeeperd recover` goes on with this member: docs/runbooks/recover.md")
		return nil
	case err := <-n.fatal:
		return n.failed(err)
	case <-n.etcd.Server.StopNotify():
		if n.wasRemoved() {
			n.removed()
			return errors.Join(<-n.fatal, n.close())
		}
		return errors.Join(n.failed(errors.New("etcd stopped while starting")), n.close())
	case err := <-n.etcd.Err():
		return errors.Join(n.failed(fmt.Errorf("etcd: %w", err)), n.close())
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), n.close())
	}
}

// failed says why etcd did not start. On data that were there before, all that
// is not the machine's refusal is damage.
func (n *Node) failed(err error) error {
	n.over.Store(true)
	err = fmt.Errorf("data folder %s: %w", n.cfg.DataDir, err)
	if n.bootstrapped || n.joining {
		return err
	}
	if says(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// says reports whether an error is one of these, or has its words: etcd hands on
// some of its errors as text.
func says(err error, of ...syscall.Errno) bool {
	return err != nil && slices.ContainsFunc(of, func(e syscall.Errno) bool {
		return errors.Is(err, e) || strings.Contains(err.Error(), e.Error())
	})
}

// diskFault tells an error of the disk from every other one: starting again does
// not mend it.
func diskFault(err error) error {
	if !says(err, syscall.EIO, syscall.EROFS) {
		return err
	}
	return fmt.Errorf("%w: %w; nothing was changed: mend the disk or mount it writable, then start the coordinator again, or replace this member", ErrDiskFails, err)
}

// startRetry is the pause between two looks at a full disk.
const startRetry = 5 * time.Second
