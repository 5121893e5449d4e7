package web

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Browsers take a segment of dots for a step in the path, escaped or not. So an
// id that is one, or looks like one that was written in this way, gets a tilde in
// front, and loses it again when it is read.
var (
	dots    = regexp.MustCompile(`^~*\.{1,2}$`)
	written = regexp.MustCompile(`^~+\.{1,2}$`)
)

// segment is an id as a segment of a page's address.
func segment(id string) string {
	if dots.MatchString(id) {
		return "~" + id
	}
	return semaphore.EscapeID(id)
}

// pathID is the id that a segment of the request's path was written for. Dots
// that came as they are, from a program, are taken as they are.
func pathID(r *http.Request, name string) string {
	id := r.PathValue(name)
	if written.MatchString(id) {
		return strings.TrimPrefix(id, "~")
	}
	return id
}
