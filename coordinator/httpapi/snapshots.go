package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const snapshotType = "application/vnd.lockkeeper.snapshot"

func (s *service) snapshots() {
	on(s, get("/snapshots", "List snapshots"), func(ctx context.Context, _ *noInput) (*body[api.SnapshotList], error) {
		return answer(s.Snapshots(ctx))
	})
	op := get("/snapshot", "Take a snapshot")
	op.Description = "Streams the store of the coordinator that answers. The trailer Content-Digest tells that it arrived as a whole."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The database, and at its end its SHA-256",
		Content:     map[string]*huma.MediaType{snapshotType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	on(s, op, s.takeSnapshot)
}

func (s *service) takeSnapshot(ctx context.Context, _ *noInput) (*huma.StreamResponse, error) {
	r, err := s.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer r.Close()
		_, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", snapshotType)
		w.Header().Set("Trailer", "Content-Digest")
		sum := sha256.New()
		if _, err := io.Copy(w, io.TeeReader(r, sum)); err != nil {
			s.log.WarnContext(ctx, "a snapshot broke off on its way", "request_id", api.RequestID(ctx), "err", err)
			panic(http.ErrAbortHandler) // half a snapshot must not look whole
		}
		w.Header().Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":")
	}}, nil
}
