package etcdnode

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// levelTrace is where etcd's debug messages go: below ours.
const levelTrace = slog.LevelDebug - 4

// harmless are messages of etcd that say nothing to an operator of a member
// without listeners or of one that has just joined, and those that repeat every
// few seconds what is logged here once.
var harmless = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,
	"retrying of unary invoker failed":                                                     true,
	// What a new member says until the leader's first term has reached it.
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
	// What it says whenever it is closed.
	"setting up serving from embedded etcd failed.": true,
	// Of a member that is down, see monitorReach.
	"prober detected unhealthy status":                       true,
	"waiting for ReadIndex response took too long, retrying": true,
	"failed to reach the peer URL":                           true,
	"failed to get version":                                  true,
	"failed to publish local member to cluster through raft": true,
}

// sayings is what is kept of etcd's messages, beside the log.
type sayings struct {
	last    atomic.Pointer[string] // the last warning or error
	removed atomic.Bool            // others told this member that it is none any more
}

// saysRemoved is how etcd words that.
const saysRemoved = "permanently removed from the cluster"

func (h *sayings) hear(text string) {
	h.last.Store(&text)
	if strings.Contains(text, saysRemoved) {
		h.removed.Store(true)
	}
}

// logCore is a zapcore.Core that writes to slog. etcd's info is our debug.
type logCore struct {
	handler slog.Handler
	attrs   []slog.Attr
	heard   *sayings
}

func newZapLogger(l *slog.Logger, hook zapcore.CheckWriteHook, heard *sayings) *zap.Logger {
	core := &logCore{handler: l.Handler(), heard: heard}
	return zap.New(core, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return levelTrace
	case l == zapcore.InfoLevel:
		return slog.LevelDebug
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// Enabled implements zapcore.LevelEnabler.
func (c *logCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.WarnLevel || c.handler.Enabled(context.Background(), slogLevel(l))
}

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{handler: c.handler, heard: c.heard, attrs: append(slices.Clip(c.attrs), toAttrs(fields)...)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slogLevel(e.Level)
	if level >= slog.LevelWarn && harmless[e.Message] {
		level = slog.LevelDebug
	}
	if level >= slog.LevelWarn {
		c.heard.hear(withError(e.Message, fields))
	}
	ctx := context.Background()
	if !c.handler.Enabled(ctx, level) {
		return nil
	}
	r := slog.NewRecord(e.Time, level, "etcd: "+e.Message, 0)
	r.AddAttrs(c.attrs...)
	r.AddAttrs(toAttrs(fields)...)
	return c.handler.Handle(ctx, r)
}

// Sync implements zapcore.Core.
func (*logCore) Sync() error { return nil }

func toAttrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	attrs := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			attrs = append(attrs, slog.Any(f.Key, v))
		}
	}
	return attrs
}

// lastWords takes the message with which etcd would end the process, hands it
// on, and blocks the goroutine that said it for ever: letting it go on would
// run code that relies on not being reached.
type lastWords struct{ said func(message string) }

// OnWrite implements zapcore.CheckWriteHook.
func (h lastWords) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	h.said(withError(ce.Message, fields))
	for {
		time.Sleep(time.Hour)
	}
}

func withError(message string, fields []zapcore.Field) string {
	for _, a := range toAttrs(fields) {
		if a.Key == "error" {
			message += ": " + a.Value.String()
		}
	}
	return message
}
