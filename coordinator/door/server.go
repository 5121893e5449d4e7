package door

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headersWithin = 10 * time.Second // for a client to send a request's headers
	bodyWithin    = 30 * time.Second // for a client to send a request's body
	writeWithin   = 30 * time.Second // for a client to take what is written at once
	idleFor       = 2 * time.Minute  // for a kept connection
	maxHeader     = 64 << 10         // bytes
)

// NewServer serves a handler with bounds on slow clients that leave long polls
// and event streams alone: answers may wait, clients may not.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headersWithin,
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connection{}, conn)
		},
	}
}
