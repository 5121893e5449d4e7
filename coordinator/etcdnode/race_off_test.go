//go:build !race

package etcdnode

const raceEnabled = false
