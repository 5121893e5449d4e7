package fleetlock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// params says who asks, and in which group.
type params struct{ id, group string }

// readParams reads a request's body. The status goes with the error.
func readParams(w http.ResponseWriter, r *http.Request) (params, int, error) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close")
		return params{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has %d bytes: at most %d", r.ContentLength, maxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		var netErr net.Error
		switch {
		case errors.As(err, &large):
			return params{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is too large: at most %d bytes", maxBody)
		case errors.As(err, &netErr) && netErr.Timeout():
			w.Header().Set("Connection", "close")
			return params{}, http.StatusRequestTimeout, errors.New("the body did not arrive in time")
		}
		return params{}, http.StatusBadRequest, errors.New("the body broke off")
	}
	p, err := parse(body)
	return p, http.StatusBadRequest, err
}

// parse reads {"client_params": {"id": ID, "group": GROUP}}. Members that the
// protocol does not know are ignored, the same member twice is refused: two
// programs could read two ids.
func parse(body []byte) (params, error) {
	var p params
	if !utf8.Valid(body) {
		return p, errors.New("the body is not valid UTF-8")
	}
	outer, err := members(body, "client_params")
	if err != nil {
		return p, fmt.Errorf("the body: %w", err)
	}
	inner, err := members(outer["client_params"], "id", "group")
	if err != nil {
		return p, fmt.Errorf("client_params: %w", err)
	}
	if p.id, err = text(inner["id"]); err != nil {
		return p, fmt.Errorf("client_params.id: %w", err)
	}
	if p.group, err = text(inner["group"]); err != nil {
		return p, fmt.Errorf("client_params.group: %w", err)
	}
	if err := semaphore.ValidNode(p.id); err != nil {
		return p, fmt.Errorf("client_params.id: %w", err)
	}
	if err := semaphore.ValidGroup(p.group); err != nil {
		return p, fmt.Errorf("client_params.group: %w", err)
	}
	return p, nil
}

// members reads one object and returns the named members as they stand. Each
// must be there once; names are compared exactly.
func members(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	found := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, broken(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, broken(err)
		}
		for _, n := range names {
			if n != name {
				continue
			}
			if _, twice := found[n]; twice {
				return nil, fmt.Errorf("%q is there twice", n)
			}
			found[n] = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, broken(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the object")
	}
	for _, n := range names {
		if _, ok := found[n]; !ok {
			return nil, fmt.Errorf("%q is missing", n)
		}
	}
	return found, nil
}

func broken(err error) error { return fmt.Errorf("broken JSON: %w", err) }

// text reads a JSON string. Half of a surrogate pair stands for no character:
// Go would read every such half as the same one, and two ids would be one.
func text(raw json.RawMessage) (string, error) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", errors.New("want a text")
	}
	for i := 0; i+5 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] != 'u' {
			i++
			continue
		}
		unit := hex4(raw[i+2:])
		switch {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return "", errors.New("half of a surrogate pair is no character")
		case unit >= 0xD800 && unit <= 0xDBFF:
			if i+11 >= len(raw) || raw[i+6] != '\\' || raw[i+7] != 'u' || hex4(raw[i+8:])&^0x3FF != 0xDC00 {
				return "", errors.New("half of a surrogate pair is no character")
			}
			i += 6
		}
		i += 5
	}
	return s, nil
}

// hex4 is the value of four hexadecimal digits, which a valid JSON escape has.
func hex4(raw []byte) uint64 {
	n, _ := strconv.ParseUint(string(raw[:4]), 16, 32)
	return n
}
