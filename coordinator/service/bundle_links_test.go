package service

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
)

// linkTo is a bundle that is not uploaded, and its link.
func linkTo(t *testing.T, text string) (string, api.BundleLink) {
	t.Helper()
	body := motd(t, text)
	b, err := bundle.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(b.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	link := api.BundleLink{URL: "https://files.example/motd.bundle", Size: int64(len(body))}
	if err := json.Unmarshal(raw, &link.Manifest); err != nil {
		t.Fatal(err)
	}
	return b.Digest, link
}

func TestLinkBundle_IsKnownWithoutItsContent(t *testing.T) {
	b := start(t)
	digest, link := linkTo(t, "hello\n")
	ctx := b.ctx(api.RoleDeployer)
	made, created, err := b.LinkBundle(ctx, digest, link)
	if err != nil || !created || made.Name != "motd" || made.Interrupt != "reboot" || len(made.Files) != 1 || made.URL != link.URL {
		t.Fatalf("%+v %v %v", made, created, err)
	}
	got, err := b.Bundle(b.as("web-1"), digest)
	if err != nil || got.URL != link.URL || got.Size != link.Size || fmt.Sprint(got.Manifest) != fmt.Sprint(link.Manifest) {
		t.Errorf("%+v %v", got, err)
	}
	_, _, err = b.OpenBundle(b.as("web-1"), digest)
	mustRefuse(t, err, api.NotFound)
	if !strings.Contains(err.Error(), link.URL) {
		t.Errorf("%v does not say where it lies", err)
	}
	// It moves, and is the same one still.
	moved := link
	moved.URL = "https://mirror.example/motd.bundle"
	if got, created, err := b.LinkBundle(ctx, digest, moved); err != nil || created || got.URL != moved.URL {
		t.Errorf("%+v %v %v", got, created, err)
	}
	moved.Size++
	_, _, err = b.LinkBundle(ctx, digest, moved)
	mustRefuse(t, err, api.Conflict)
	if list, err := b.Bundles(b.admin()); err != nil || len(list) != 1 || list[0].URL != "https://mirror.example/motd.bundle" || list[0].Manifest != nil {
		t.Errorf("%+v %v", list, err)
	}
	if err := b.DeleteBundle(ctx, digest); err != nil {
		t.Error(err)
	}
}

func TestBundles_EachChangeIsInTheAuditTrailWithoutAURLsSecret(t *testing.T) {
	b := start(t)
	digest, link := linkTo(t, "hello\n")
	ctx := b.ctx(api.RoleDeployer)
	for _, at := range []string{"https://files.example/motd?secret=1", "https://mirror.example/motd?secret=2", "https://mirror.example/motd?secret=2"} {
		link.URL = at
		if _, _, err := b.LinkBundle(ctx, digest, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DeleteBundle(ctx, digest); err != nil {
		t.Fatal(err)
	}
	shown := func(host string) string {
		return fmt.Sprintf(`{"digest":%q,"name":"motd","size":%d,"url":"https://%s/motd"}`, digest, link.Size, host)
	}
	first, then := shown("files.example"), shown("mirror.example")
	want := []struct{ kind, before, after string }{
		{"bundle.created", "", first}, {"bundle.changed", first, then}, {"bundle.deleted", then, ""},
	}
	b.eventually("all of it is in the trail", func() bool {
		list, err := b.Events(b.admin(), api.EventQuery{Kind: "bundle", Limit: 100})
		return err == nil && len(list.Events) == len(want)
	})
	list, err := b.Events(b.admin(), api.EventQuery{Kind: "bundle", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		e := list.Events[i]
		if e.Kind != w.kind || string(e.Before) != w.before || string(e.After) != w.after || e.Actor != "ann" || !strings.Contains(e.Detail, digest) {
			t.Errorf("event %d: %+v, want %+v", i, e, w)
		}
	}
}

func TestLinkBundle_RefusesWhatNoAgentCouldUse(t *testing.T) {
	b := start(t)
	digest, link := linkTo(t, "hello\n")
	for what, change := range map[string]func(l *api.BundleLink){
		"url": func(l *api.BundleLink) { l.URL = "ftp://files.example/x" }, "url ": func(l *api.BundleLink) { l.URL = "https://ann:pw@files.example/x" },
		"url  ": func(l *api.BundleLink) { l.URL = "files/x" }, "size": func(l *api.BundleLink) { l.Size = 0 },
		"size ": func(l *api.BundleLink) { l.Size = bundle.MaxLinked + 1 }, "manifest.json": func(l *api.BundleLink) { l.Manifest = map[string]any{"surprise": 1} },
	} {
		bad := link
		change(&bad)
		_, _, err := b.LinkBundle(b.ctx(api.RoleDeployer), digest, bad)
		field(t, err, strings.TrimSpace(what))
	}
	if list, err := b.Bundles(b.admin()); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestSignBundle_KeepsASignatureOfEachKeyOnce(t *testing.T) {
	b := start(t)
	content := motd(t, "hello\n")
	digest := bundle.Digest(content)
	ctx := b.ctx(api.RoleDeployer)
	sign := func(digest string) api.BundleSignature {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signature.Sign(digest, key)
		if err != nil {
			t.Fatal(err)
		}
		return api.BundleSignature{Signature: text}
	}
	first := sign(digest)
	_, err := b.SignBundle(ctx, digest, first)
	mustRefuse(t, err, api.NotFound)
	if _, _, err := b.CreateBundle(ctx, bytes.NewReader(content), ""); err != nil {
		t.Fatal(err)
	}
	for _, s := range []api.BundleSignature{first, first, sign(digest)} {
		if _, err := b.SignBundle(ctx, digest, s); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.SignBundle(ctx, digest, sign(strings.Repeat("ab", 32)))
	field(t, err, "signature")
	got, err := b.Bundle(b.as("web-1"), digest)
	if err != nil || len(got.Signatures) != 2 || len(got.SignedBy) != 2 || got.Signatures[0] != first.Signature {
		t.Errorf("%+v %v", got, err)
	}
	for range signature.MaxKept - 2 {
		if _, err := b.SignBundle(ctx, digest, sign(digest)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.SignBundle(ctx, digest, sign(digest))
	mustRefuse(t, err, api.Conflict)
}
