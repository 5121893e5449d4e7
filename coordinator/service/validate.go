package service

import (
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Bounds of a node's labels.
const (
	maxLabels     = 64
	maxLabelValue = 256 // bytes
)

func requireText(v *invalid, path, text string, most int) {
	if text == "" {
		v.add(path, "must not be empty")
		return
	}
	boundText(v, path, text, most)
}

func boundText(v *invalid, path, text string, most int) {
	if len(text) > most {
		v.add(path, fmt.Sprintf("%d bytes: at most %d", len(text), most))
	}
}

func requireFence(v *invalid, fence int64) {
	if fence < 1 {
		v.add("fence", "want the hold's fence, a whole number from 1 on")
	}
}

// byName checks what freeing a slot by name asks for.
func byName(v *invalid, node, name, reason string, fence int64) {
	requireFence(v, fence)
	if name != node {
		v.add("name", fmt.Sprintf("%q was typed, the hold is of node %q: type the node's id again", name, node))
	}
	requireText(v, "reason", reason, maxReason)
}

// checkLabels checks labels that a node or an operator gives. A name that is none
// passes where known says that it is stored already, from before names were
// checked: a host that has one must not be lost for it.
func checkLabels(v *invalid, path string, labels map[string]string, known func(name string) bool) {
	if len(labels) > maxLabels {
		v.add(path, fmt.Sprintf("%d labels: at most %d", len(labels), maxLabels))
		return
	}
	for name, value := range labels {
		switch err := semaphore.ValidLabel(name); {
		case err != nil && !known(name):
			v.check(path, err)
		case len(value) > maxLabelValue:
			v.add(path+"."+name, fmt.Sprintf("%d bytes: at most %d", len(value), maxLabelValue))
		}
	}
}

func (s *Service) unknownGroup(name string) error {
	return api.Errorf(api.UnknownGroup, "there is no group %q: make it with `lockkeeper group set %s --slots 1`, or name one that exists", name, shellword.Word(name))
}

func isNoWaiter(err error) bool { return errors.Is(err, semaphore.ErrNoWaiter) }
