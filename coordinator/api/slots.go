package api

import (
	"encoding/json"
	"strings"
)

// Slots is a text, "2" or "5%". JSON writes a whole number as a number, and
// both forms are read.
type Slots string

// MarshalJSON writes 2 for "2" and "5%" for "5%".
func (s Slots) MarshalJSON() ([]byte, error) {
	if s == "0" || s != "" && s[0] != '0' && strings.Trim(string(s), "0123456789") == "" {
		return []byte(s), nil
	}
	return json.Marshal(string(s))
}

// UnmarshalJSON reads a number or a text; the service checks its value.
func (s *Slots) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*s = Slots(n.String())
	return nil
}
