package api

// Bounds of a BenchRequest.
const (
	MaxBenchCallers = 1024
	MaxBenchSeconds = 10
)

// BenchRequest asks for the yardstick of a benchmark: so many callers put
// values straight into the coordinator's store for that long.
type BenchRequest struct {
	Callers int     `json:"callers"` // 1 to 1024
	Seconds float64 `json:"seconds"` // above 0, at most 10
	// Pause is how many seconds each caller rests between two puts, at most 1: what
	// comes now and then meets a store that is at rest.
	Pause float64 `json:"pause,omitempty"`
}

// Measured is how many operations there were, and how long each took, in
// microseconds.
type Measured struct {
	Count   int64   `json:"count"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // operations per second
	P50     int64   `json:"p50_us"`
	P99     int64   `json:"p99_us"`
	P999    int64   `json:"p999_us"`
	Max     int64   `json:"max_us"`
	// Histogram is all of it, as an HdrHistogram of microseconds (version 2,
	// compressed, base64), so that several can be added up.
	Histogram string `json:"histogram,omitempty"`
}
