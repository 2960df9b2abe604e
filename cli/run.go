package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The outcomes of a job.
const (
	outcomeDone        = "done"
	outcomeNothingToDo = "nothing_to_do"
	outcomePartly      = "partly"
	outcomeFailed      = "failed"
	outcomeInterrupted = "interrupted"
)

// result is the last record of a job.
type result struct {
	Kind       string         `json:"kind"` // "result"
	Schema     int            `json:"schema"`
	Command    string         `json:"command"`
	Outcome    string         `json:"outcome"`
	Exit       int            `json:"exit"`
	Counts     map[string]int `json:"counts"`
	StartedAt  time.Time      `json:"started_at"`
	FinishedAt time.Time      `json:"finished_at"`
	Error      string         `json:"error,omitempty"`
	Cause      string         `json:"cause,omitempty"`
	Next       string         `json:"next,omitempty"`
}

// summary is what a job did. Outcome "" means done, or failed beside an error.
type summary struct {
	Outcome string
	Counts  map[string]int
	Exit    int // another code that applies, such as ExitFindings; see worst
}

// run makes the RunE of a command that prints no result record.
func (p *program) run(act func(ctx context.Context, arguments []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		ctx, cancel := p.begin(command)
		defer cancel()
		return p.explainTimeout(ctx, act(ctx, arguments))
	}
}

// job makes the RunE of a command that may take long: with --json it ends with
// exactly one result record, however it ended.
func (p *program) job(act func(ctx context.Context, arguments []string) (summary, error)) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		ctx, cancel := p.begin(command)
		defer cancel()
		did, err := act(ctx, arguments)
		err = p.explainTimeout(ctx, err)
		last := p.result(command.Context(), did, err)
		p.record(last)
		if err != nil {
			failed := asFailure(err)
			failed.Exit = last.Exit
			return failed
		}
		if last.Exit != ExitDone {
			return exitOnly(last.Exit)
		}
		return nil
	}
}

func (p *program) begin(command *cobra.Command) (context.Context, context.CancelFunc) {
	p.command = strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
	if p.settings.timeout > 0 {
		return context.WithTimeout(command.Context(), p.settings.timeout)
	}
	return context.WithCancel(command.Context())
}

// explainTimeout names --timeout when that is what ended the command.
func (p *program) explainTimeout(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	failed := asFailure(err)
	failed.What = "not finished in time"
	failed.Cause = fmt.Sprintf("--timeout %s is over", p.settings.timeout)
	failed.Next = "the same command with a longer --timeout"
	return failed
}

// result derives the last record from what a job did and how it ended.
func (p *program) result(ctx context.Context, did summary, err error) result {
	last := result{
		Kind: "result", Schema: 1,
		Command:    p.command,
		Outcome:    did.Outcome,
		Counts:     did.Counts,
		StartedAt:  p.started.UTC(),
		FinishedAt: p.environment.Now().UTC(),
	}
	if last.Counts == nil {
		last.Counts = map[string]int{}
	}
	codes := []int{did.Exit}
	if err != nil {
		failed := asFailure(err)
		last.Error, last.Cause, last.Next = failed.What, failed.Cause, failed.Next
		codes = append(codes, failed.Exit)
		if last.Outcome == "" || last.Outcome == outcomeDone || last.Outcome == outcomeNothingToDo {
			last.Outcome = outcomeFailed
		}
	}
	switch last.Outcome {
	case "":
		last.Outcome = outcomeDone
	case outcomePartly:
		codes = append(codes, ExitPartly)
	case outcomeFailed:
		if err == nil {
			codes = append(codes, ExitFailed)
		}
	}
	unfinished := last.Outcome != outcomeDone && last.Outcome != outcomeNothingToDo
	if unfinished && errors.Is(context.Cause(ctx), ErrInterrupted) {
		last.Outcome = outcomeInterrupted
		codes = append(codes, ExitInterrupted)
	}
	last.Exit = worst(codes...)
	return last
}
