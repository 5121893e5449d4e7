package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// joinWithin bounds how long a joiner waits for its turn, or for a quorum.
	joinWithin = 3 * time.Minute
	// joinPause lies between two questions where the answer names no time.
	joinPause = 2 * time.Second
	// joinUnanswered is how long it asks where nobody answers.
	joinUnanswered = 10 * time.Second
	// dialWithin bounds the making of a connection.
	dialWithin = 5 * time.Second
	// maxJoinToken bounds what is read as one, in bytes.
	maxJoinToken = 4 << 10
)

// errJoinRefused: the cluster does not take this coordinator in, and asking
// again with the same settings does not help.
var errJoinRefused = errors.New("the cluster refuses")

// joiner asks the cluster that the configuration names.
type joiner struct {
	cfg Config
	log *slog.Logger

	client *client.Client // once the token was read
}

// connect reads the token, which is looked at only when it is needed.
func (j *joiner) connect() error {
	if j.client != nil {
		return nil
	}
	text, err := j.cfg.Join.readToken(os.Stdin)
	if err != nil {
		return fmt.Errorf("%w: %w", errJoinRefused, err)
	}
	token, err := auth.ParseJoinToken(text)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errJoinRefused, j.cfg.Join.source(), err)
	}
	j.client, err = client.New(client.Config{
		Servers: j.cfg.Join.Servers, Token: token.Secret, Cluster: token.Cluster, UserAgent: "lockkeeperd",
		// A coordinator that is asked for the cluster's own certificate shows it,
		// so that the secret goes to nobody else, whoever vouches for its address.
		HTTP: &http.Client{Transport: &http.Transport{
			TLSClientConfig: peerca.Pinned(token.Fingerprint), TLSHandshakeTimeout: dialWithin,
			DialContext: (&net.Dialer{Timeout: dialWithin}).DialContext, DisableKeepAlives: true,
		}},
	})
	if err != nil {
		return fmt.Errorf("%w: --join: %w", errJoinRefused, err)
	}
	return nil
}

func (c *JoinConfig) source() string {
	switch c.TokenFile {
	case "":
		return "LOCKKEEPER_JOIN_TOKEN"
	case "-":
		return "the standard input"
	}
	return c.TokenFile
}

func (c *JoinConfig) readToken(stdin io.Reader) (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	in := stdin
	switch c.TokenFile {
	case "":
		return "", errors.New("joining needs a join token, as `lockkeeper cluster token` prints it: give a file with --join-token-file (- for the standard input), or LOCKKEEPER_JOIN_TOKEN")
	case "-":
	default:
		f, err := os.Open(c.TokenFile)
		if err != nil {
			return "", fmt.Errorf("join token: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxJoinToken))
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Begin implements etcdnode.Joiner.
func (j *joiner) Begin(ctx context.Context, name string) (*peerca.CA, []string, error) {
	if err := j.connect(); err != nil {
		return nil, nil, err
	}
	var got api.JoinAuthority
	err := j.ask(ctx, func(ctx context.Context) (err error) {
		got, err = j.client.JoinBegin(ctx, api.JoinBeginRequest{Name: name, MaxV: semaphore.SchemaVersion})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	ca, err := peerca.Parse([]byte(got.CACert), []byte(got.CAKey))
	if err != nil {
		return nil, nil, err
	}
	var urls []string
	for _, m := range got.Members {
		if m.PeerURL != "" && m.Name != "" && m.Name != name {
			urls = append(urls, m.PeerURL)
		}
	}
	return ca, urls, nil
}

// Add implements etcdnode.Joiner.
func (j *joiner) Add(ctx context.Context, a etcdnode.Adding) (etcdnode.Added, error) {
	var got api.Joined
	err := j.ask(ctx, func(ctx context.Context) (err error) {
		got, err = j.client.Join(ctx, api.JoinRequest{Name: a.Name, PeerURL: a.PeerURL, MemberID: a.MemberID})
		return err
	})
	out := etcdnode.Added{MemberID: got.MemberID}
	for _, m := range got.Members {
		out.Members = append(out.Members, etcdnode.Peer{ID: m.ID, Name: m.Name, PeerURL: m.PeerURL})
	}
	return out, err
}

// ask asks until there is an answer that stays.
func (j *joiner) ask(ctx context.Context, question func(context.Context) error) error {
	began, said := time.Now(), false
	for {
		err := question(ctx)
		var refused *api.Error
		wait, within := joinPause, joinWithin
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, peerca.ErrOtherCA):
			return fmt.Errorf("%w: %w: give the URL of one of its coordinators, reached directly and not through a proxy that ends TLS", errJoinRefused, err)
		case errors.As(err, &refused) && refused.Kind == api.WrongCluster:
			return fmt.Errorf("%w: the join token is of another cluster than the one at %s: make the token there, or give the URL of a coordinator of its own (%w)", errJoinRefused, strings.Join(j.cfg.Join.Servers, ", "), err)
		case errors.As(err, &refused) && refused.Kind != api.NoQuorum && refused.Kind != api.Rate && refused.RetryAfter == 0:
			return fmt.Errorf("%w: %w", errJoinRefused, err)
		case errors.As(err, &refused):
			wait = max(wait, refused.RetryAfter)
		default:
			within = joinUnanswered
		}
		if time.Since(began) > within {
			return err
		}
		if !said {
			said = true
			j.log.Warn("not taken into the cluster yet; asking again", "reason", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
