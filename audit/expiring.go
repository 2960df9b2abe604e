package audit

import (
	"strconv"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

const day = 24 * time.Hour

// Limits of cert-expiring: the smaller of a fixed time and a fraction of the
// certificate's own life. A fixed number alone cries wolf over six-day
// certificates all their life.
const (
	highLimit, highFraction         = 30 * day, 3
	criticalLimit, criticalFraction = 15 * day, 6
	// overdueFraction of its life after renew_at a managed certificate is late.
	overdueFraction = 12
)

// checkExpiring judges the life left. A managed certificate is judged by its
// plan, which knows better when to worry, until the critical limit.
func checkExpiring(looked facts) []finding.Finding {
	left := looked.leaf.NotAfter.Sub(looked.now)
	if left < 0 || looked.now.Before(looked.leaf.NotBefore) {
		return nil // checkDates speaks
	}
	life := cert.Lifetime(looked.leaf)
	var found []finding.Finding
	expiring := func(severity finding.Severity) {
		made := finding.New(finding.CertExpiring, "the certificate expires in "+roundDuration(left)+", at "+stamp(looked.leaf.NotAfter),
			"remaining", left.String(), "lifetime", life.String(), "not_after", stamp(looked.leaf.NotAfter)).As(severity)
		by := looked.leaf.NotAfter.UTC()
		made.By = &by
		found = append(found, made)
	}
	switch {
	case left < min(criticalLimit, life/criticalFraction):
		expiring(finding.Critical)
	case looked.managed == nil && left < min(highLimit, life/highFraction):
		expiring(finding.High)
	}
	if managed := looked.managed; managed != nil && !managed.RenewAt.IsZero() && !looked.now.Before(managed.RenewAt.Add(life/overdueFraction)) {
		made := finding.New(finding.RenewOverdue, "the renewal was due at "+stamp(managed.RenewAt),
			"certificate", managed.Name, "renew_at", stamp(managed.RenewAt), "remaining", left.String())
		by := looked.leaf.NotAfter.UTC()
		made.By = &by
		found = append(found, made)
	}
	return found
}

// roundDuration is a duration for a sentence: whole days where there are two or
// more, else hours and minutes.
func roundDuration(d time.Duration) string {
	if d >= 2*day {
		return formatCount(int(d/day), "day")
	}
	if d >= time.Hour {
		return formatCount(int(d/time.Hour), "hour")
	}
	return formatCount(int(d/time.Minute), "minute")
}

func formatCount(count int, unit string) string {
	if count == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(count) + " " + unit + "s"
}
