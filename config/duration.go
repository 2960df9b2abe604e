package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration is time.ParseDuration that also takes whole days (24 h each) in
// front: "90d", "1d12h", "-1d". Error: the text is no duration, or out of range
// (some 292 years).
func ParseDuration(written string) (time.Duration, error) {
	days, rest, found := strings.Cut(written, "d")
	if !found {
		return time.ParseDuration(written)
	}
	count, err := strconv.Atoi(days)
	if err != nil || days == "" {
		return 0, errors.New("not a duration")
	}
	const day = 24 * time.Hour
	if count > int(math.MaxInt64/day) || count < -int(math.MaxInt64/day) {
		return 0, errors.New("duration out of range")
	}
	value := time.Duration(count) * day
	if rest == "" {
		return value, nil
	}
	if rest[0] == '-' || rest[0] == '+' {
		return 0, errors.New("not a duration") // a sign belongs in front of all
	}
	more, err := time.ParseDuration(rest)
	if err != nil {
		return 0, err
	}
	if strings.HasPrefix(days, "-") {
		more = -more
	}
	if sum := value + more; (sum > value) == (more > 0) || more == 0 {
		return sum, nil
	}
	return 0, errors.New("duration out of range")
}
