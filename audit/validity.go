package audit

import (
	"strconv"
	"time"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/finding"
)

// validityLimits are the longest lives that the Baseline Requirements (section
// 6.3.2) allow, by the day from which certificates were issued under them.
var validityLimits = []struct {
	from time.Time // notBefore at or after
	days int       // of 86,400 s
}{
	{time.Time{}, 825}, // the oldest limit that can still concern a living certificate
	{time.Date(2020, 9, 1, 0, 0, 0, 0, time.UTC), 398},
	{time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC), 200},
	{time.Date(2027, 3, 15, 0, 0, 0, 0, time.UTC), 100},
	{time.Date(2029, 3, 15, 0, 0, 0, 0, time.UTC), 47},
}

func validityLimit(notBefore time.Time) (days int) {
	for _, limit := range validityLimits {
		if !notBefore.Before(limit.from) {
			days = limit.days
		}
	}
	return days
}

// checkValidity holds public certificates, and those of roots that the user
// names, to the limit; elsewhere the Requirements do not apply and this is only
// worth knowing.
func checkValidity(looked facts) []finding.Finding {
	limit := validityLimit(looked.leaf.NotBefore)
	life := cert.Lifetime(looked.leaf) // notAfter - notBefore + 1 s, as the Requirements count
	if life <= time.Duration(limit)*day {
		return nil
	}
	made := finding.New(finding.CertValidityTooLong,
		"the certificate is valid for "+roundDuration(life)+"; the limit when it was issued was "+strconv.Itoa(limit)+" days",
		"lifetime", life.String(), "limit_days", strconv.Itoa(limit), "not_before", stamp(looked.leaf.NotBefore))
	if !looked.trust.Anchored {
		made = made.As(finding.Info)
	}
	return one(made)
}
