package api

import "time"

// Snapshot is a file that a coordinator keeps.
type Snapshot struct {
	Name string    `json:"name"`
	Size int64     `json:"size"` // bytes
	At   time.Time `json:"at"`   // when it was taken
}

// SnapshotList is what the coordinator that answers keeps, and how.
type SnapshotList struct {
	Scheduled bool       `json:"scheduled"`         // it takes snapshots by itself
	Dir       string     `json:"dir,omitempty"`     // on its host
	Every     string     `json:"every,omitempty"`   // such as 1h0m0s
	Keep      int        `json:"keep,omitempty"`    // how many
	Failure   string     `json:"failure,omitempty"` // of the last try, empty when that went well
	Snapshots []Snapshot `json:"snapshots"`         // newest first
}
