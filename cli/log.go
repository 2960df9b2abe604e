package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/journal"
	"github.com/backstay/backstay/store"
)

func logCommand(p *program) *cobra.Command {
	command := &cobra.Command{Use: "log", Short: "the tamper-evident journal of everything that was done"}
	group(command)
	command.AddCommand(logTailCommand(p), logVerifyCommand(p))
	return command
}

func logTailCommand(p *program) *cobra.Command {
	var most int
	command := &cobra.Command{
		Use:   "tail [NAME]",
		Short: "the newest acts, the last one last",
		Args:  arguments(0, 1),
		RunE: p.run(func(ctx context.Context, names []string) error {
			state, _, err := p.looking(ctx)
			if err != nil {
				return err
			}
			defer state.Close()
			return p.tail(ctx, state, names, most)
		}),
	}
	command.Flags().IntVarP(&most, "lines", "n", 20, "how many acts")
	return command
}

// looking opens the state for looking only: no lock, nothing is written.
func (p *program) looking(ctx context.Context) (*store.Store, string, error) {
	folder, err := p.statePath()
	if err != nil {
		return nil, "", err
	}
	state, err := store.Open(ctx, store.Config{Folder: folder, ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, folder, &failure{What: "nothing is recorded yet", Cause: "there is no state in " + folder, Next: "backstay renew", Err: err}
	}
	if err != nil {
		return nil, folder, stateFailure(folder, err)
	}
	return state, folder, nil
}

func (p *program) tail(ctx context.Context, state *store.Store, names []string, most int) error {
	var acts []journal.Act
	var err error
	if len(names) == 0 {
		acts, err = journal.Tail(ctx, state, "", most)
	} else {
		acts, err = journal.About(ctx, state, names[0], most)
	}
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(acts))
	for _, act := range acts {
		p.record(act)
		rows = append(rows, []string{act.At.Format("2006-01-02 15:04:05"), subjectWords(act.Subject), act.What, ending(act), actWords(act)})
	}
	if len(rows) == 0 {
		p.note("nothing is recorded yet")
		return nil
	}
	p.table([]string{"TIME (UTC)", "ABOUT", "ACT", "OUTCOME", "DETAILS"}, rows)
	return nil
}

func subjectWords(subject string) string {
	_, rest, found := strings.Cut(subject, "/")
	if !found {
		return subject
	}
	if name, _, found := strings.Cut(rest, "/"); found {
		return name
	}
	return rest
}

func ending(act journal.Act) string {
	switch {
	case act.FinishedAt == nil:
		return "under way"
	case act.Cause == "interrupted":
		return "interrupted"
	}
	return act.Outcome
}

// actWords are the details in a fixed order, the error first.
func actWords(act journal.Act) string {
	var words []string
	if act.Error != "" && act.Cause != "interrupted" {
		words = append(words, act.Error)
	}
	names := make([]string, 0, len(act.Intent))
	for name := range act.Intent { // order does not matter: sorted below
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		words = append(words, name+"="+act.Intent[name])
	}
	return strings.Join(words, " ")
}

func logVerifyCommand(p *program) *cobra.Command {
	var elsewhere string
	command := &cobra.Command{
		Use:   "verify",
		Short: "recompute the journal and compare it with its signed checkpoints",
		Long: "Recomputes every leaf, hash and root of the journal and compares them with every\n" +
			"signed checkpoint. With --checkpoint also with one that was kept elsewhere, which\n" +
			"is what shows that a whole history was replaced.",
		Args: arguments(0, 0),
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.verifyLog(ctx, elsewhere) }),
	}
	command.Flags().StringVar(&elsewhere, "checkpoint", "", "a copy of journal.checkpoint that was kept elsewhere")
	return command
}

func (p *program) verifyLog(ctx context.Context, elsewhere string) error {
	var kept []byte
	if elsewhere != "" {
		var err error
		if kept, err = os.ReadFile(elsewhere); err != nil {
			return usage("cannot read the checkpoint "+elsewhere, err.Error(), "backstay log verify --checkpoint FILE")
		}
	}
	state, folder, err := p.looking(ctx)
	if err != nil {
		return err
	}
	defer state.Close()
	verification, err := journal.Verify(ctx, folder, state, kept, p.environment.Now())
	if err != nil {
		return err
	}
	p.record(verification)
	if !verification.OK {
		for _, problem := range verification.Problems {
			p.printf("%s\n", problem)
		}
		return &failure{What: "the journal was tampered with or is damaged", Cause: verification.Problems[0],
			Next: "keep a copy of the state folder as evidence before anything else"}
	}
	p.printf("the journal is whole: %s in %s, %s, epoch %s, root %s\n",
		count(int(verification.Acts), "act"), plural(int(verification.Leaves), "leaf", "leaves"),
		count(verification.Checkpoints, "signed checkpoint"), strconv.FormatInt(verification.Epoch, 10), verification.Root)
	if verification.Waiting > 0 {
		p.printf("%s wait for the log; the next run writes them\n", plural(int(verification.Waiting), "act part", "act parts"))
	}
	return nil
}
