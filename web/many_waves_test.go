package web_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The drawing of more waves than there is room for opens at the one that goes on.
func TestRollout_OfManyWavesOpensAtTheOneThatGoesOn(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	r := b.rollouts["ro-7k2f"]
	r.Wave, r.Waves, r.Nodes = 50, nil, nil
	for i := range 100 {
		w := api.RolloutWave{Name: fmt.Sprintf("w%d", i+1), State: api.WavePending, Total: 1}
		switch {
		case i < 49:
			w.State, w.Updated = api.WaveDone, 1
		case i == 49:
			w.State = api.WaveRunning
		}
		r.Waves = append(r.Waves, w)
		r.Nodes = append(r.Nodes, api.RolloutNode{Node: fmt.Sprintf("n%d", i), Group: "web", Wave: i + 1, State: api.NodePending})
	}
	b.rollouts[r.ID] = r
	url := open(t, b)
	p := openTab(t)
	p.look(1440, "light")
	p.do(chromedp.Navigate(url + "/rollouts/ro-7k2f"))
	p.until("wave 50 is in sight", `(() => { const w = document.querySelector('.wave[data-s=now]').getBoundingClientRect(), s = document.querySelector('#waves .scroll').getBoundingClientRect();
		return w.left >= s.left && w.right <= s.right; })()`)
}
