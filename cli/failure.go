package cli

import (
	"context"
	"errors"

	"github.com/backstay/backstay/finding"
)

// The exit codes. Any other code is a bug.
const (
	ExitDone        = 0   // nothing to do included
	ExitFailed      = 1   // the act failed
	ExitUsage       = 2   // wrong usage or configuration
	ExitPartly      = 3   // some was done
	ExitForbidden   = 4   // not permitted
	ExitFindings    = 5   // findings at or above --fail-on
	ExitUnreachable = 6   // a dependency could not be reached
	ExitInterrupted = 130 // SIGINT or SIGTERM
)

// ErrInterrupted is the cause with which a signal cancels the context of Main.
var ErrInterrupted = errors.New("interrupted")

// failure is an error for a person. What and Cause are short lines without
// capital and full stop; Next is the one command to type. Text from outside in
// them is escaped when it is printed. Cause and Next may be empty.
type failure struct {
	What     string
	Cause    string
	Next     string
	Exit     int // 0 means ExitFailed
	Findings []finding.Finding
	Err      error // the error behind it, for errors.Is; never printed
}

func (failed *failure) Error() string {
	if failed.Cause == "" {
		return failed.What
	}
	return failed.What + ": " + failed.Cause
}

func (failed *failure) Unwrap() error { return failed.Err }

// usage is a failure of the person's input.
func usage(what, cause, next string) *failure {
	return &failure{What: what, Cause: cause, Next: next, Exit: ExitUsage}
}

// exitOnly ends the program with a code when all has been said already.
type exitOnly int

func (code exitOnly) Error() string { return "" }

// asFailure is err as a failure with its exit code set.
func asFailure(err error) *failure {
	var failed *failure
	switch {
	case errors.As(err, &failed):
		copied := *failed
		if copied.Exit == 0 {
			copied.Exit = ExitFailed
		}
		return &copied
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{What: "not finished in time", Cause: err.Error(), Next: "the same command with a longer --timeout", Exit: ExitFailed, Err: err}
	}
	return &failure{What: err.Error(), Exit: ExitFailed, Err: err}
}

// worst is the exit code that stands for several: the one that comes first in
// 130, 2, 4, 1, 6, 3, 5, and 0 when there is no other.
func worst(codes ...int) int {
	for _, code := range []int{ExitInterrupted, ExitUsage, ExitForbidden, ExitFailed, ExitUnreachable, ExitPartly, ExitFindings} {
		for _, each := range codes {
			if each == code {
				return code
			}
		}
	}
	return ExitDone
}
