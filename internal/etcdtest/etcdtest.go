// Package etcdtest runs a real etcd of its own, with its defaults and a client
// port, for the tests of what is a client of an existing one.
package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Config of a Server.
type Config struct {
	Dir    string // of its data, and of its socket where Listen is empty
	Listen string // URL for clients; default a unix socket in Dir
	Quota  int64  // bytes of the database; 0: etcd's default
	// TLS of an https URL.
	TLS transport.TLSInfo
	// Name, Peer (the URL for the others) and Cluster (all members as etcd's
	// --initial-cluster has them) of one of several members; empty for a single.
	Name, Peer, Cluster string
}

// Server is a running etcd.
type Server struct {
	URL  string // for clients
	etcd *embed.Etcd
}

const startTimeout = 30 * time.Second

// Start runs an etcd on the folder, an old one if it holds data, and returns
// when it answers.
func Start(cfg Config) (*Server, error) {
	if cfg.Listen == "" {
		dir, err := filepath.Abs(cfg.Dir)
		if err != nil {
			return nil, err
		}
		cfg.Listen = "unix://" + filepath.Join(dir, "etcd.sock")
	}
	client, err := url.Parse(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if client.Scheme == "unix" {
		// What a killed process left there.
		if err := os.Remove(client.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	ec := embed.NewConfig()
	ec.ListenPeerUrls = nil
	if cfg.Peer == "" {
		cfg.Name, cfg.Peer = "test", "http://127.0.0.1:2380" // nobody listens there
		cfg.Cluster = cfg.Name + "=" + cfg.Peer
	} else if ec.ListenPeerUrls, err = types.NewURLs([]string{cfg.Peer}); err != nil {
		return nil, err
	}
	ec.Name = cfg.Name
	ec.Dir = filepath.Join(cfg.Dir, "data")
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	if ec.AdvertisePeerUrls, err = types.NewURLs([]string{cfg.Peer}); err != nil {
		return nil, err
	}
	ec.InitialCluster = cfg.Cluster
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	ec.QuotaBackendBytes = cfg.Quota
	ec.ClientTLSInfo = cfg.TLS
	e, err := embed.StartEtcd(ec)
	if err != nil {
		return nil, fmt.Errorf("etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return &Server{URL: cfg.Listen, etcd: e}, nil
	case <-time.After(startTimeout):
		e.Server.Stop()
		e.Close()
		return nil, fmt.Errorf("etcd in %s: not ready after %s", cfg.Dir, startTimeout)
	}
}

// Stop ends it; the folder can be started again.
func (s *Server) Stop() {
	s.etcd.Server.Stop()
	s.etcd.Close()
}

// Wait returns when ctx ends, or with an error when etcd ended by itself.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.etcd.Err():
		return err
	case <-s.etcd.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	}
}
