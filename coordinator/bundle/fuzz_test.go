package bundle

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// FuzzAgain: bytes are refused with an API error, or are a bundle whose
// manifest and content make a bundle again that says the same. More: `go test
// -fuzz FuzzAgain ./coordinator/bundle`.
func FuzzAgain(f *testing.F) {
	m, content := sample()
	whole, err := Encode(m, content)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(bytes.Clone(whole), 'x'))
	f.Add([]byte(manifestName))
	f.Fuzz(func(t *testing.T, b []byte) {
		opened, err := Parse(b)
		if err != nil {
			if !errors.As(err, new(*api.Error)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if opened.Digest != Digest(b) || opened.Size != int64(len(b)) {
			t.Fatal("it is not what was read")
		}
		contents := map[string][]byte{}
		for _, file := range opened.Manifest.Files {
			contents[file.Path] = []byte(text(t, opened, file.Path))
		}
		again, err := Encode(opened.Manifest, contents)
		if err != nil {
			t.Fatalf("it cannot be written again: %v", err)
		}
		reopened, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(opened.Manifest, reopened.Manifest); diff != "" {
			t.Fatalf("read and written (-before +after):\n%s", diff)
		}
	})
}
