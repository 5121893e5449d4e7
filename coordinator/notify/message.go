package notify

import "time"

// Message is what happened, for people and for programs.
type Message struct {
	ID   string    // the same in all tries
	Type string    // rollout.halted, …
	At   time.Time // when it happened
	// Title and Text are sentences for people; Grave marks what needs one.
	Title, Text string
	Grave       bool
	Facts       []Fact // a few, in order
	// Data is what the format json carries, an object.
	Data any
}

// Fact is a name with its value, for people.
type Fact struct{ Name, Value string }

// The formats of a body.
const (
	JSON  = "json"
	Slack = "slack"
	Teams = "teams"
)

// Formats lists them all.
var Formats = []string{JSON, Slack, Teams}
