package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
)

// LinkBundle makes a bundle known that lies elsewhere, or says where it lies
// now. It reports false when it was known. Nothing is fetched: agents verify.
func (s *Service) LinkBundle(ctx context.Context, digest string, link api.BundleLink) (api.Bundle, bool, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Bundle{}, false, err
	}
	if err := checkDigest(digest); err != nil {
		return api.Bundle{}, false, err
	}
	text, m, err := checkLink(&link)
	if err != nil {
		return api.Bundle{}, false, s.problem(ctx, err)
	}
	b, created, err := s.db.PutBundle(ctx, api.Bundle{
		Digest: digest, Name: m.Name, Version: m.Version, Size: link.Size, CreatedAt: s.now().UTC(), By: p.Name,
		Files: m.APIFiles(), Interrupt: string(m.Greatest()), URL: link.URL,
	}, text)
	switch {
	case err != nil:
		return api.Bundle{}, false, s.problem(ctx, err)
	case !created && b.URL != "" && b.Size != link.Size:
		return api.Bundle{}, false, api.Errorf(api.Conflict, "the bundle %s is known with %d bytes, and one digest has one size: not %d", digest, b.Size, link.Size)
	case !created && b.URL != "" && b.URL != link.URL:
		b, err = s.db.ChangeBundle(ctx, digest, p.Name, func(b *api.Bundle) error {
			b.URL = link.URL
			return nil
		})
		if err != nil {
			return api.Bundle{}, false, s.bundleProblem(ctx, digest, err)
		}
	}
	b.Nodes = s.nodesWith()[digest]
	return b, created, nil
}

// checkLink returns the manifest as text, and read.
func checkLink(link *api.BundleLink) ([]byte, bundle.Manifest, error) {
	var none bundle.Manifest
	u, err := url.Parse(link.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "" || len(link.URL) > 2048 {
		return nil, none, invalidField("url", fmt.Sprintf("%.100q: want https://HOST/PATH of the bundle's file, without a name and a password, at most 2048 bytes", link.URL))
	}
	if link.Size < 1 || link.Size > bundle.MaxLinked {
		return nil, none, invalidField("size", fmt.Sprintf("%d: want the size of the bundle's file, at most %d bytes", link.Size, bundle.MaxLinked))
	}
	text, err := json.Marshal(link.Manifest)
	if err != nil {
		return nil, none, invalidField("manifest", err.Error())
	}
	if len(text) > bundle.MaxSize {
		return nil, none, invalidField("manifest", fmt.Sprintf("%d bytes: want at most %d", len(text), bundle.MaxSize))
	}
	m, err := bundle.ParseManifest(text)
	return text, m, err
}

func invalidField(path, detail string) *api.Error {
	return &api.Error{Kind: api.Invalid, Detail: path + ": " + detail, Fields: []api.FieldError{{Path: path, Detail: detail}}}
}

// manifestIn is the manifest of a bundle as it is stored.
func manifestIn(b *api.Bundle, body []byte) (out map[string]any, err error) {
	text := body
	if b.URL == "" {
		opened, err := bundle.Parse(body)
		if err != nil {
			return nil, err
		}
		if text, err = json.Marshal(opened.Manifest); err != nil {
			return nil, err
		}
	}
	return out, json.Unmarshal(text, &out)
}

// SignBundle keeps a signature of a bundle's digest. Whether its key is trusted
// is for each agent to say; that it is a signature of that digest is seen to.
func (s *Service) SignBundle(ctx context.Context, digest string, req api.BundleSignature) (api.Bundle, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Bundle{}, err
	}
	if err := checkDigest(digest); err != nil {
		return api.Bundle{}, err
	}
	signer, err := signature.Signer(digest, req.Signature)
	if err != nil {
		return api.Bundle{}, invalidField("signature", err.Error())
	}
	b, err := s.db.ChangeBundle(ctx, digest, p.Name, func(b *api.Bundle) error {
		if slices.Contains(b.SignedBy, signer) {
			return nil
		}
		if len(b.Signatures) >= signature.MaxKept {
			return api.Errorf(api.Conflict, "the bundle %s has %d signatures, and more are not kept", digest, len(b.Signatures))
		}
		b.SignedBy, b.Signatures = append(b.SignedBy, signer), append(b.Signatures, req.Signature)
		return nil
	})
	var refused *api.Error
	if errors.As(err, &refused) {
		return api.Bundle{}, refused
	}
	if err != nil {
		return api.Bundle{}, s.bundleProblem(ctx, digest, err)
	}
	b.Nodes = s.nodesWith()[digest]
	return b, nil
}
