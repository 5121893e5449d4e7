package httpapi

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

func TestClient_ASnapshotThatBreaksOffIsAnError(t *testing.T) {
	c := serve(t, &fake{opened: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("page", 1<<20)), errReader{})), 0, nil
	}})
	r, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("after %d bytes: %v", n, err)
	}
}
