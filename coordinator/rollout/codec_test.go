package rollout

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// stored are the kinds of stored values: how each is read, and written with a `v`.
var stored = map[string]func(text string) (encode func(writes int) ([]byte, error), err error){
	"head": func(text string) (func(int) ([]byte, error), error) {
		v, err := DecodeHead([]byte(text))
		return v.Encode, err
	},
	"selection": func(text string) (func(int) ([]byte, error), error) {
		v, err := DecodeSelection([]byte(text))
		return v.Encode, err
	},
	"result": func(text string) (func(int) ([]byte, error), error) {
		v, err := DecodeResult([]byte(text))
		return v.Encode, err
	},
	"notice": func(text string) (func(int) ([]byte, error), error) {
		v, err := DecodeNotice([]byte(text))
		return v.Encode, err
	},
	"settled": func(text string) (func(int) ([]byte, error), error) {
		v, err := DecodeSettled([]byte(text))
		return v.Encode, err
	},
}

func TestStoredValues_AreWrittenWithTheSchemaOfAllAndNeverWithLessThanTheyHad(t *testing.T) {
	was := semaphore.SchemaVersion
	semaphore.SchemaVersion = 3
	t.Cleanup(func() { semaphore.SchemaVersion = was })
	for kind, read := range stored {
		for _, c := range []struct{ had, writes, want int }{{1, 1, 1}, {1, 2, 2}, {2, 1, 2}, {3, 2, 3}} {
			encode, err := read(strings.ReplaceAll(`{"v":N,"someday":{"n":3}}`, "N", string(rune('0'+c.had))))
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			b, err := encode(c.writes)
			var got struct {
				V       int             `json:"v"`
				Someday json.RawMessage `json:"someday"`
			}
			if err == nil {
				err = json.Unmarshal(b, &got)
			}
			if err != nil || got.V != c.want || string(got.Someday) != `{"n":3}` {
				t.Errorf("%s read with v %d while %d is written: %s, %v", kind, c.had, c.writes, b, err)
			}
		}
	}
}

func TestStoredValues_OfALaterSchemaAreToldApartAlsoWhereTheyDoNotFit(t *testing.T) {
	for kind, read := range stored {
		for _, text := range []string{`{"v":2}`, `{"v":2,"at":{"s":1},"state":7,"nodes":{},"id":[],"created_at":0,"node":1,"to":3}`} {
			if _, err := read(text); !errors.Is(err, semaphore.ErrNewerSchema) {
				t.Errorf("%s %s: %v", kind, text, err)
			}
		}
		for _, text := range []string{`{"v":1`, `{"v":"1"}`, `[]`, `null`, ``} {
			if _, err := read(text); err == nil || errors.Is(err, semaphore.ErrNewerSchema) {
				t.Errorf("damaged %s %q: %v", kind, text, err)
			}
		}
	}
}
