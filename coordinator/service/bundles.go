package service

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// unusedFor is how long a bundle is kept that no rollout wants and no node has.
const unusedFor = 30 * 24 * time.Hour

// CreateBundle verifies and stores a bundle. It reports false when the same
// content is stored already.
func (s *Service) CreateBundle(ctx context.Context, body io.Reader, digest string) (api.Bundle, bool, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Bundle{}, false, err
	}
	digest = strings.ToLower(digest)
	if digest != "" {
		if err := checkDigest(digest); err != nil {
			return api.Bundle{}, false, err
		}
	}
	content, err := io.ReadAll(io.LimitReader(body, etcdstore.MaxBundle+1))
	if err != nil {
		return api.Bundle{}, false, api.Errorf(api.Invalid, "the upload was cut off after %d bytes, and nothing was stored: send it again", len(content))
	}
	if len(content) > etcdstore.MaxBundle {
		return api.Bundle{}, false, api.Errorf(api.TooLarge, "the bundle is larger than %d bytes: put it where agents can fetch it, and make it known with \"lockkeeper bundle upload FILE --url URL\"", etcdstore.MaxBundle)
	}
	if actual := bundle.Digest(content); digest != "" && digest != actual {
		return api.Bundle{}, false, &api.Error{
			Kind:   api.Invalid,
			Detail: fmt.Sprintf("the content has the digest %s, not %s as stated: it changed on the way, and nothing was stored", actual, digest),
			Fields: []api.FieldError{{Path: "Content-Digest", Detail: "is not that of the body"}},
		}
	}
	opened, err := bundle.Parse(content)
	if err != nil {
		return api.Bundle{}, false, s.problem(ctx, err)
	}
	stored, created, err := s.db.PutBundle(ctx, api.Bundle{
		Digest: opened.Digest, Name: opened.Manifest.Name, Version: opened.Manifest.Version, Size: opened.Size, CreatedAt: s.now().UTC(), By: p.Name,
		Files: opened.Manifest.APIFiles(), Interrupt: string(opened.Greatest()),
	}, content)
	if err != nil {
		return api.Bundle{}, false, s.problem(ctx, err)
	}
	stored.Nodes = s.nodesWith()[stored.Digest]
	return stored, created, nil
}

// Bundles lists the bundles, newest first.
func (s *Service) Bundles(ctx context.Context) ([]api.Bundle, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	list, err := s.db.Bundles(ctx)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	nodes := s.nodesWith()
	for i := range list {
		list[i].Nodes = nodes[list[i].Digest]
		list[i].Files, list[i].Signatures = nil, nil
	}
	return list, nil
}

// Bundle describes one bundle. Agents ask for its signatures and its URL.
func (s *Service) Bundle(ctx context.Context, digest string) (api.Bundle, error) {
	if _, err := needEither(ctx, api.RoleViewer, ownNode(ctx)); err != nil {
		return api.Bundle{}, err
	}
	if err := checkDigest(digest); err != nil {
		return api.Bundle{}, err
	}
	b, err := s.db.Bundle(ctx, digest)
	if err != nil {
		return api.Bundle{}, s.bundleProblem(ctx, digest, err)
	}
	b.Nodes = s.nodesWith()[digest]
	body, err := s.db.BundleBody(ctx, digest)
	if err != nil {
		return api.Bundle{}, s.bundleProblem(ctx, digest, err)
	}
	b.Manifest, err = manifestIn(&b, body)
	return b, s.problem(ctx, err)
}

// OpenBundle is a bundle's file and its size in bytes. Agents fetch it here.
func (s *Service) OpenBundle(ctx context.Context, digest string) (io.ReadCloser, int64, error) {
	if _, err := needEither(ctx, api.RoleViewer, ownNode(ctx)); err != nil {
		return nil, 0, err
	}
	if err := checkDigest(digest); err != nil {
		return nil, 0, err
	}
	b, err := s.db.Bundle(ctx, digest)
	if err == nil && b.URL != "" {
		return nil, 0, api.Errorf(api.NotFound, "the bundle %s is not stored here: it lies at %s", digest, b.URL)
	}
	var body []byte
	if err == nil {
		body, err = s.db.BundleBody(ctx, digest)
	}
	if err != nil {
		return nil, 0, s.bundleProblem(ctx, digest, err)
	}
	return io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
}

// DeleteBundle deletes a bundle that no rollout under way wants.
func (s *Service) DeleteBundle(ctx context.Context, digest string) error {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return err
	}
	if err := checkDigest(digest); err != nil {
		return err
	}
	return s.bundleProblem(ctx, digest, s.deleteBundle(ctx, digest, p.Name))
}

// deleteTries bounds how often it is decided anew whether a bundle may go, when
// rollouts keep coming meanwhile.
const deleteTries = 16

// deleteBundle deletes a bundle that no rollout under way needs at that moment.
func (s *Service) deleteBundle(ctx context.Context, digest, by string) error {
	for try := 1; ; try++ {
		use, catalog, err := s.roll.BundleUse(ctx, digest)
		switch {
		case err != nil:
			return err
		case use != "":
			return api.Errorf(api.InUse, "%s: abort it first", use)
		}
		err = s.db.DeleteBundle(ctx, digest, by, catalog)
		if !errors.Is(err, etcdstore.ErrChanged) {
			return err
		}
		if try == deleteTries {
			return api.Errorf(api.Conflict, "rollouts keep being created: the bundle %s was not deleted; try again", digest)
		}
	}
}

// Prune deletes what is past its bound: what DB.Prune does, and the bundles
// that nobody needed for 30 days: no node has it, or should.
func (s *Service) Prune(ctx context.Context) error {
	if err := s.db.Prune(ctx); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	list, err := s.db.Bundles(ctx)
	if err != nil {
		return fmt.Errorf("prune bundles: %w", err)
	}
	needed := s.nodesWith()
	for _, n := range s.overview().nodes {
		if n.Drift != nil {
			needed[n.Drift.Bundle]++
		}
	}
	for _, r := range s.roll.List() {
		if r.State.Active() || s.now().Sub(r.EndedAt) < unusedFor {
			needed[r.Spec.Bundle]++
		}
	}
	for _, b := range list {
		if needed[b.Digest] > 0 || s.now().Sub(b.CreatedAt) < unusedFor {
			continue
		}
		err := s.deleteBundle(ctx, b.Digest, "coordinator")
		var refused *api.Error
		switch {
		case errors.Is(err, etcdstore.ErrNotFound), errors.As(err, &refused): // gone, or needed since
			continue
		case err != nil:
			return fmt.Errorf("prune bundle %s: %w", b.Digest, err)
		}
		s.logger.Info("deleted a bundle that nobody needed for 30 days", "bundle", b.Digest, "name", b.Name)
	}
	return nil
}

func (s *Service) bundleProblem(ctx context.Context, digest string, err error) error {
	if errors.Is(err, etcdstore.ErrNotFound) {
		return api.Errorf(api.NotFound, "there is no bundle %s: it was never uploaded here, or was deleted", digest)
	}
	return s.problem(ctx, err)
}

// nodesWith counts the nodes that have each bundle in place.
func (s *Service) nodesWith() map[string]int {
	counts := map[string]int{}
	nodes := s.overview().nodes
	for i := range nodes {
		if d := nodes[i].Report.Bundle; d != "" {
			counts[d]++
		}
	}
	return counts
}

func checkDigest(digest string) error {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 || digest != strings.ToLower(digest) {
		return &api.Error{
			Kind: api.Invalid, Detail: fmt.Sprintf("digest %q: want the SHA-256 of the bundle's file, 64 hexadecimal digits", digest),
			Fields: []api.FieldError{{Path: "digest", Detail: "want 64 hexadecimal digits"}},
		}
	}
	return nil
}
