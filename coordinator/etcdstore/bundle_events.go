package etcdstore

import (
	"net/url"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// traced is what the audit trail keeps of a bundle: its files and signatures are
// too long for an event, and the query of its URL may hold a secret.
type traced struct {
	Digest   string   `json:"digest"`
	Name     string   `json:"name"`
	Version  string   `json:"version,omitempty"`
	Size     int64    `json:"size"`
	URL      string   `json:"url,omitempty"`
	SignedBy []string `json:"signed_by,omitempty"`
}

func trace(b *api.Bundle) any {
	if b == nil {
		return nil
	}
	t := traced{Digest: b.Digest, Name: b.Name, Version: b.Version, Size: b.Size, SignedBy: b.SignedBy}
	if u, err := url.Parse(b.URL); err == nil {
		u.RawQuery = ""
		t.URL = u.String()
	}
	return t
}

// bundleEvent tells what somebody did to a bundle.
func bundleEvent(kind, actor string, before, after *api.Bundle) semaphore.Event {
	b := after
	if b == nil {
		b = before
	}
	detail := b.Name
	if b.Version != "" {
		detail += " " + b.Version
	}
	e := semaphore.Event{Kind: kind, Actor: actor, Detail: detail + ", digest " + b.Digest}
	return e.Changed(trace(before), trace(after))
}
