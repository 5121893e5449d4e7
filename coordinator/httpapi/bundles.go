package httpapi

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The media types that a bundle may be sent as. It is answered as the first.
const (
	bundleType = "application/vnd.lockkeeper.bundle+tar"
	bytesType  = "application/octet-stream"
)

// BundlePath is the path of one bundle.
type BundlePath struct {
	Digest string `path:"sha256" pattern:"^[0-9a-f]{64}$" patternDescription:"the SHA-256 of the bundle, 64 hexadecimal digits in lower case"`
}

func (s *service) bundles() {
	type upload struct {
		Type    string `header:"Content-Type"`
		Digest  string `header:"Content-Digest" doc:"sha-256=:BASE64: of RFC 9530, checked before anything is stored"`
		RawBody []byte `contentType:"application/vnd.lockkeeper.bundle+tar"`
	}
	op := post("/bundles", "Upload a bundle")
	op.MaxBodyBytes = maxBundle + 1
	on(s, op, func(ctx context.Context, in *upload) (*bundleAnswer, error) {
		if mediaType, _, _ := mime.ParseMediaType(in.Type); mediaType != bundleType && mediaType != bytesType {
			p := refuse(at("header.Content-Type", "%q is no bundle: want %s or %s", in.Type, bundleType, bytesType))
			p.Status = http.StatusUnsupportedMediaType
			return nil, p
		}
		digest, err := contentDigest(in.Digest)
		if err != nil {
			return nil, err
		}
		b, created, err := s.CreateBundle(ctx, bytes.NewReader(in.RawBody), digest)
		return &bundleAnswer{Status: statusOf(created), Body: b}, err
	})
	on(s, get("/bundles", "List bundles"), func(ctx context.Context, _ *noInput) (*body[api.BundleList], error) {
		bundles, err := s.Bundles(ctx)
		return answer(api.BundleList{Bundles: some(bundles)}, err)
	})
	on(s, get("/bundles/{sha256}", "Get a bundle"), func(ctx context.Context, in *BundlePath) (*body[api.Bundle], error) {
		return answer(s.Bundle(ctx, in.Digest))
	})
	content := get("/bundles/{sha256}/content", "Download a bundle")
	content.Responses = map[string]*huma.Response{"200": {
		Description: "The bundle's bytes",
		Content:     map[string]*huma.MediaType{bundleType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	on(s, content, s.download)
	type linked struct {
		BundlePath
		Body api.BundleLink
	}
	link := put("/bundles/{sha256}", "Make a bundle known that lies at a URL")
	link.MaxBodyBytes = maxLink + 1
	on(s, link, func(ctx context.Context, in *linked) (*bundleAnswer, error) {
		b, created, err := s.LinkBundle(ctx, in.Digest, in.Body)
		return &bundleAnswer{Status: statusOf(created), Body: b}, err
	})
	type signed struct {
		BundlePath
		Body api.BundleSignature
	}
	on(s, post("/bundles/{sha256}/signatures", "Add a signature of a bundle's digest"), func(ctx context.Context, in *signed) (*body[api.Bundle], error) {
		return answer(s.SignBundle(ctx, in.Digest, in.Body))
	})
	on(s, del("/bundles/{sha256}", "Delete a bundle"), func(ctx context.Context, in *BundlePath) (*none, error) {
		return nil, s.DeleteBundle(ctx, in.Digest)
	})
}

func statusOf(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

type bundleAnswer struct {
	Status int
	Body   api.Bundle
}

func (s *service) download(ctx context.Context, in *BundlePath) (*huma.StreamResponse, error) {
	r, size, err := s.OpenBundle(ctx, in.Digest)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer r.Close()
		_, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", bundleType)
		w.Header().Set("ETag", strconv.Quote(in.Digest))
		if size >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		}
		if _, err := io.Copy(w, r); err != nil {
			panic(http.ErrAbortHandler) // half a bundle must not look whole
		}
	}}, nil
}
