package api

import "time"

// WindowSpec is a span that comes back, by the wall clock of TimeZone: on Weekdays
// at Start, or at each time that Cron names. It ends when that clock first
// shows the start and Duration later, also in a night with an hour more or less.
type WindowSpec struct {
	Name     string   `json:"name,omitempty" doc:"A name for people"`
	Weekdays []string `json:"weekdays,omitempty" doc:"Days such as sat, or mon-fri; none is every day" example:"[\"mon-fri\"]"`
	Start    string   `json:"start,omitempty" doc:"Time of day; or give cron" example:"22:00"`
	Cron     string   `json:"cron,omitempty" doc:"Minute, hour, day of month, month, day of week, instead of weekdays and start" example:"0 22 * * mon-fri"`
	Duration string   `json:"duration" doc:"Whole minutes, 1m to 168h" example:"4h"`
	Cutoff   string   `json:"cutoff,omitempty" doc:"Nothing starts in so much of its end" example:"30m"`
	TimeZone string   `json:"time_zone,omitempty" doc:"IANA name; UTC if absent" example:"Europe/Berlin"`
}

// BlackoutSpec is a named span in which nothing starts, Start included and End not.
type BlackoutSpec struct {
	Name   string    `json:"name"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Reason string    `json:"reason,omitempty"`
}

// WindowStatus says whether a group's windows let a node start now.
type WindowStatus struct {
	Open bool `json:"open"`
	// Name and TimeZone are of the open window, else of the next to open.
	Name     string `json:"name,omitempty"`
	TimeZone string `json:"time_zone,omitempty"`
	// Until is when the last of the open windows lets nobody start any more:
	// its end less its cutoff.
	Until time.Time `json:"until,omitzero"`
	// Next is the next opening after now; absent when none ever comes.
	Next time.Time `json:"next,omitzero"`
}
