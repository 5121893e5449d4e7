package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

var (
	chaosRuns = flag.Int("chaos", 3, "how many random runs, each with a seed of its own")
	chaosSeed = flag.Uint64("seed", 0, "seed of the first run; the others count on from it. 0: by the clock")
)

const (
	chaosLasts = 4 * time.Second // trouble in one run; what is under way then ends without it
	chaosNodes = 6               // hosts of a group, two of which compete for the machine's attention at once
	chaosSlots = 2
	// chaosPatience bounds how long a host asks until it is answered. When the
	// trouble is over that is a matter of seconds, on a machine with time to spare.
	chaosPatience = patience
)

// chaos is a cluster that is troubled, and what its hosts see.
type chaos struct {
	*cluster
	net   *netlab // nil: nothing is troubled
	guard *guard
	group string
	began time.Time
	busy  [3]sync.Mutex // one trouble for a coordinator at a time

	mu      sync.Mutex
	history []porcupine.Operation
	out     map[string]int64 // hosts that are out, by what they themselves do, with their fences
	most    int
	asked   int
	lost    int // answers that never came
	wrong   []string
}

// finds notes what must not be.
func (c *chaos) finds(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// chaosInput is what a host asked, and chaosOutput the fence that it was told.
// What it asked again, with the same request, until it was answered is one
// operation: it had its effect at one moment in between.
type chaosInput struct {
	What  string // acquire, confirm, release
	Node  string
	Fence int64
}

type chaosState struct {
	next  int64
	holds [chaosNodes]int64
}

func chaosIndex(node string) (n int) {
	_, _ = fmt.Sscanf(node[strings.LastIndexByte(node, '-')+1:], "%d", &n)
	return n
}

// chaosModel is what a group promises: no more holds than slots, each with the
// next fence, and a hold stays its holder's until that returns it.
var chaosModel = porcupine.Model{
	Init: func() any { return chaosState{next: 1} },
	Step: func(state, input, output any) (bool, any) {
		s, in, fence := state.(chaosState), input.(chaosInput), output.(int64)
		n := chaosIndex(in.Node)
		switch in.What {
		case "acquire":
			if s.holds[n] != 0 {
				return s.holds[n] == fence, s
			}
			held := 0
			for _, h := range s.holds {
				held += int(min(h, 1))
			}
			if held >= chaosSlots || fence != s.next {
				return false, s
			}
			s.holds[n], s.next = fence, fence+1
			return true, s
		case "confirm":
			return s.holds[n] == in.Fence, s
		}
		if s.holds[n] == in.Fence { // an older fence changes nothing
			s.holds[n] = 0
		}
		return true, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// host takes, confirms and returns a slot again and again until told to end, and
// notes all of it.
func (c *chaos) host(ctx context.Context, id int, rng *rand.Rand) error {
	node := fmt.Sprintf("%s-%d", c.group, id)
	urls := strings.Split(c.urls(), ",")
	rng.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	k, err := client.New(client.Config{Servers: urls})
	if err != nil {
		return err
	}
	defer k.Close()
	if err := c.insist(rng, func(ctx context.Context) error {
		_, err := k.Poll(ctx, node, api.PollRequest{Instance: node, BootID: "boot", Report: api.Report{Seq: 1, Group: c.group}})
		return err
	}); err != nil {
		return fmt.Errorf("poll of %s: %w", node, err)
	}
	old := int64(0)
	for n := 0; n == 0 || ctx.Err() == nil; n++ { // once in any case
		var hold api.Hold
		request := fmt.Sprint("r", n)
		acquire := func(ctx context.Context) error {
			got, err := k.Acquire(ctx, c.group, node, api.AcquireRequest{Instance: node, Request: request, BootID: "boot"}, time.Second)
			hold = got.Hold
			return err
		}
		if err := c.note(rng, id, chaosInput{What: "acquire", Node: node}, acquire, func() int64 { return hold.Fence }); err != nil {
			return err
		}
		if rng.IntN(8) == 0 && old != 0 { // an old return comes late
			if err := c.release(rng, k, id, node, old); err != nil {
				return err
			}
		}
		if rng.IntN(8) == 0 { // the agent crashed, and asks for what it holds
			if err := c.note(rng, id, chaosInput{What: "acquire", Node: node}, acquire, func() int64 { return hold.Fence }); err != nil {
				return err
			}
		}
		confirm := func(ctx context.Context) error {
			_, err := k.Confirm(ctx, c.group, node, api.ConfirmRequest{Fence: hold.Fence, Instance: node, BootID: "boot"})
			return err
		}
		if err := c.note(rng, id, chaosInput{What: "confirm", Node: node, Fence: hold.Fence}, confirm, func() int64 { return hold.Fence }); err != nil {
			return err
		}
		c.goes(node, hold.Fence)
		time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond)))) // out of service
		c.returns(node)
		if err := c.release(rng, k, id, node, hold.Fence); err != nil {
			return err
		}
		old = hold.Fence
	}
	return nil
}

func (c *chaos) release(rng *rand.Rand, k *client.Client, id int, node string, fence int64) error {
	return c.note(rng, id, chaosInput{What: "release", Node: node, Fence: fence}, func(ctx context.Context) error {
		return k.Release(ctx, c.group, node, fence, node)
	}, func() int64 { return fence })
}

// goes counts a host that goes out of service, as somebody beside the
// coordinators sees it.
func (c *chaos) goes(node string, fence int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[node] = fence
	if c.most = max(c.most, len(c.out)); len(c.out) > chaosSlots {
		c.wrong = append(c.wrong, fmt.Sprintf("with %s %d hosts are out, with %d slots: %v", node, len(c.out), chaosSlots, c.out))
	}
}

func (c *chaos) returns(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.out, node)
}

// note asks until it is answered, and puts that down as one operation.
func (c *chaos) note(rng *rand.Rand, id int, in chaosInput, ask func(context.Context) error, answer func() int64) error {
	call := time.Since(c.began)
	if err := c.insist(rng, ask); err != nil {
		return fmt.Errorf("%s of %s, fence %d: %w", in.What, in.Node, in.Fence, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = append(c.history, porcupine.Operation{
		ClientId: id, Input: in, Call: int64(call), Output: answer(), Return: int64(time.Since(c.began)),
	})
	return nil
}

// insist asks again after refusals that pass and answers that never came. Now
// and then the client hangs up by itself. Once something is found that must not be
// it gives up: whoever found it may have left a slot behind that others wait for.
func (c *chaos) insist(rng *rand.Rand, ask func(context.Context) error) error {
	for began := time.Now(); ; {
		patience := 3 * time.Second
		if rng.IntN(12) == 0 {
			patience = time.Duration(rng.Int64N(int64(30 * time.Millisecond)))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := ask(ctx)
		cancel()
		gone := errors.Is(err, client.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || isKind(err, api.NoQuorum) || isKind(err, api.DiskLow)
		c.mu.Lock()
		c.asked++
		if gone {
			c.lost++
		}
		found := len(c.wrong) > 0
		c.mu.Unlock()
		switch {
		case err == nil:
			return nil
		case !gone && !isKind(err, api.Full) && !isKind(err, api.Queue):
			return err
		case found || time.Since(began) > chaosPatience:
			return fmt.Errorf("asked for %s: %w", time.Since(began).Round(time.Second), err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(40 * time.Millisecond)))) // a client's pause
	}
}

// chaos troubles the cluster by a seed, and finds what was not as promised.
func (c *cluster) chaos(seed uint64, net *netlab, g *guard) *chaos {
	t := c.t
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a seed has to make the same again
	r := &chaos{cluster: c, net: net, guard: g, group: fmt.Sprintf("chaos-%d", seed), began: time.Now(), out: map[string]int64{}}
	must(t, c.any().url, "group", "set", r.group, "--slots", fmt.Sprint(chaosSlots))
	list := schedule(rng)
	ctx, stop := context.WithTimeout(context.Background(), chaosLasts)
	defer stop()
	var hosts, trouble sync.WaitGroup
	for id := range chaosNodes {
		own := rand.New(rand.NewPCG(seed, uint64(id+2))) //nolint:gosec // as above
		hosts.Go(func() {
			if err := r.host(ctx, id, own); err != nil {
				r.finds("%v", err)
			}
		})
	}
	if net != nil {
		trouble.Go(func() {
			var each sync.WaitGroup
			for _, f := range list {
				time.Sleep(f.After)
				each.Go(func() { r.do(f) })
			}
			each.Wait()
		})
	}
	trouble.Wait()
	hosts.Wait()
	got := porcupine.CheckOperationsTimeout(chaosModel, r.history, patience)
	t.Logf("seed %d: %d operations in %d requests, %d answers lost, at most %d out, %s: %s",
		seed, len(r.history), r.asked, r.lost, r.most, time.Since(r.began).Round(100*time.Millisecond), got)
	if got != porcupine.Ok {
		r.finds("the history is %s", got)
	}
	if net != nil {
		t.Logf("the schedule of seed %d: %v", seed, list)
	}
	if len(r.wrong) > 0 {
		r.show(seed)
	}
	return r
}

// show writes the history as a page.
func (c *chaos) show(seed uint64) {
	dir := os.Getenv("LOCKKEEPER_TEST_OUTPUT")
	if dir == "" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, fmt.Sprintf("chaos-%d.html", seed))
	_, info := porcupine.CheckOperationsVerbose(chaosModel, c.history, 10*time.Second)
	if err := porcupine.VisualizePath(chaosModel, info, path); err != nil {
		c.t.Logf("the history could not be drawn: %v", err)
		return
	}
	c.t.Logf("the history is in %s", path)
}

// Whatever is killed, stopped or cut off, whichever disk is full, slow or fails,
// and whenever a client hangs up: what hosts are told is the history of one group,
// and no more of them are out than there are slots.
func TestChaos_HistoriesOfACoordinatedFleetAreLinearizable(t *testing.T) {
	t.Parallel()
	needTool(t, "strace")
	n := newNetlab(t)
	c := n.cluster(onSmallDisk(t))
	g := newGuard(c)
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixMilli())
	}
	t.Logf("seeds from %d: go test -race -run TestChaos_Histories ./cmd/e2e -args -chaos %d -seed %[1]d makes the same again", seed, *chaosRuns)
	operations, requests, lost := 0, 0, 0
	for i := range *chaosRuns {
		r := c.chaos(seed+uint64(i), n, g)
		for _, w := range r.wrong {
			t.Errorf("seed %d: %s", seed+uint64(i), w)
		}
		operations, requests, lost = operations+len(r.history), requests+r.asked, lost+r.lost
		g.check(seed + uint64(i))
		if t.Failed() {
			t.FailNow()
		}
		for _, m := range c.members { // which the guard may just be starting again
			eventually(t, m.name+" is ready", func() bool { status, _ := get(m.url + "/readyz"); return status == http.StatusOK })
		}
	}
	t.Logf("%d runs: %d operations in %d requests, %d answers lost", *chaosRuns, operations, requests, lost)
	if operations < chaosNodes*(*chaosRuns) {
		t.Errorf("%d operations in %d runs show nothing", operations, *chaosRuns)
	}
}

// The same clients find out a coordinator in which a rule is broken: one that
// puts a group's head without comparing it.
func TestChaos_FindsACoordinatorThatComparesNoHead(t *testing.T) {
	t.Parallel()
	path, err := brokenCoordinator(t, "semaphore/etcdstore/transact.go",
		"w.cmps = append(w.cmps, unchanged(head, a.base.HeadRev))", "_ = unchanged")
	must0(t, err)
	c := &cluster{t: t, binary: path}
	c.begin(3)
	for seed := range uint64(10) {
		if r := c.chaos(seed+1, nil, nil); len(r.wrong) > 0 {
			t.Logf("found in run %d: %s", seed+1, r.wrong[0])
			return
		}
	}
	t.Error("nothing was found in 10 runs")
}

// brokenCoordinator builds a lockkeeperd with one piece of its source replaced.
func brokenCoordinator(t *testing.T, file, old, broken string) (string, error) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, file)
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if strings.Count(string(source), old) != 1 {
		return "", fmt.Errorf("%s has %d of %q, want 1", file, strings.Count(string(source), old), old)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), old, broken, 1)), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "lockkeeperd")
	text, err := exec.Command("go", "build", race, "-overlay", filepath.Join(dir, "overlay.json"), "-o", out, "github.com/lockkeeper/lockkeeper/cmd/lockkeeperd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return out, nil
}
