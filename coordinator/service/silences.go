package service

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const attentionSilences = "silences_failing"

// Silences of hosts that are out of service.
type Silences interface {
	// Failure is why they cannot be kept, and since when; empty while they can,
	// or while another coordinator keeps them.
	Failure() (why string, since time.Time)
}

// silencesTrouble tells of an Alertmanager that takes no silences.
func (s *Service) silencesTrouble() []api.Attention {
	if s.cfg.Silences == nil {
		return nil
	}
	why, since := s.cfg.Silences.Failure()
	if why == "" {
		return nil
	}
	return []api.Attention{{
		Kind: attentionSilences, Severity: warn, Since: since, Title: "Alerts of hosts that are out of service are not silenced",
		Detail: sentenceOf(why) + "Updates go on all the same, and their hosts may alert. It is tried again every minute.",
	}}
}
