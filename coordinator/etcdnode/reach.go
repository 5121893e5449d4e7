package etcdnode

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

const (
	// reachTimeout bounds one look at another member.
	reachTimeout = 2 * time.Second
	// reachEvery is how often the other members are looked at, reachSoon how
	// often it is seen whether there is a new one.
	reachEvery = 3 * time.Second
	reachSoon  = 500 * time.Millisecond
	// versionPath is what every member answers on its peer port.
	versionPath = "/version"
)

// Ask is a GET of another member's peer port, as this member, and the first
// 4 KiB of what it says with a 200.
func Ask(ctx context.Context, files peerca.Files, ca *peerca.CA, peerURL, path string) (string, error) {
	config, err := peerca.Config(files, ca)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	t := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peerURL+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", reachTimeout)
		}
		if errors.As(err, new(x509.UnknownAuthorityError)) {
			err = fmt.Errorf("it has another authority than this member: one of both was restored or recovered meanwhile (%w)", err)
		}
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return string(body), err
}

// Ask is a GET of another member's peer port, or of one that is to become one.
func (n *Node) Ask(ctx context.Context, peerURL, path string) (string, error) {
	return Ask(ctx, n.PeerFiles(), n.CA(), peerURL, path)
}

// Reach asks all other members at once whether they are there, and returns why
// not, by id.
func (n *Node) Reach(ctx context.Context) map[string]error {
	s, err := n.server()
	if err != nil {
		return nil
	}
	var mu sync.Mutex
	found := map[string]error{}
	var all sync.WaitGroup
	for _, m := range s.Cluster().Members() {
		if m.ID == n.id || len(m.PeerURLs) == 0 {
			continue
		}
		all.Go(func() {
			_, err := n.Ask(ctx, m.PeerURLs[0], versionPath)
			mu.Lock()
			defer mu.Unlock()
			found[m.ID.String()] = err
		})
	}
	all.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reached = found
	return found
}

// monitorReach keeps what Members says of the others fresh. A new one is looked
// at soon.
func (n *Node) monitorReach(ctx context.Context) {
	t := time.NewTicker(reachSoon)
	defer t.Stop()
	var looked time.Time
	for {
		s, err := n.server()
		if err != nil {
			return
		}
		n.mu.Lock()
		before := n.reached
		n.mu.Unlock()
		fresh := false
		for _, m := range s.Cluster().Members() {
			_, known := before[m.ID.String()]
			fresh = fresh || !known && m.ID != n.id
		}
		if fresh || len(before) > 0 && time.Since(looked) >= reachEvery {
			looked = time.Now()
			n.endSilent()
			if now := n.Reach(ctx); ctx.Err() == nil {
				n.sayReached(before, now)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// sayReached logs which members went and came.
func (n *Node) sayReached(before, now map[string]error) {
	for id, err := range now {
		was, looked := before[id]
		switch {
		case err != nil && was == nil:
			n.cfg.Logger.Warn("a member cannot be reached", "member", id, "reason", err)
		case err == nil && looked && was != nil:
			n.cfg.Logger.Info("the member can be reached again", "member", id)
		}
	}
}

// quiet takes what strangers on the peer port would have logged.
var quiet = log.New(io.Discard, "", 0)
