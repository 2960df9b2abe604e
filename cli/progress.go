package cli

import (
	"fmt"
	"io"
	"time"
)

const (
	progressAfter = 2 * time.Second        // a shorter job shows no progress
	progressEvery = 200 * time.Millisecond // between two drawings
)

// progress is a line on standard error that counts what a long job has done.
// It is drawn when the count changes, so it has no goroutine of its own.
type progress struct {
	p     *program
	label string
	total int // 0: not known
	done  int
	begun time.Time
	drawn time.Time
}

// progress begins a progress line; label is ours, such as "endpoints". Nothing
// is shown in the first two seconds, when standard error is no terminal, or
// with --quiet.
func (p *program) progress(label string, total int) *progress {
	return &progress{p: p, label: label, total: total, begun: p.environment.Now()}
}

// add counts work as done. It may be called from several goroutines.
func (line *progress) add(count int) {
	p := line.p
	now := p.environment.Now()
	p.output.mutex.Lock()
	defer p.output.mutex.Unlock()
	line.done += count
	if !p.environment.StderrTerminal || p.settings.quiet || now.Sub(line.begun) < progressAfter || now.Sub(line.drawn) < progressEvery {
		return
	}
	line.drawn = now
	p.output.clear()
	io.WriteString(p.output.stderr, line.text(now))
	p.output.progress = true
}

// text is the line: count, rate, and the time left when the total is known.
func (line *progress) text(now time.Time) string {
	rate := float64(line.done) / now.Sub(line.begun).Seconds()
	if line.total == 0 {
		return fmt.Sprintf("%d %s, %.0f/s", line.done, line.label, rate)
	}
	text := fmt.Sprintf("%d of %d %s, %.0f/s", line.done, line.total, line.label, rate)
	if rate > 0 && line.done < line.total {
		left := time.Duration(float64(line.total-line.done) / rate * float64(time.Second))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}

// clear removes the progress line, so that another may be printed. The caller
// holds the lock.
func (to *output) clear() {
	if to.progress {
		io.WriteString(to.stderr, "\r\x1b[K")
		to.progress = false
	}
}

func (p *program) clearProgress() {
	p.output.mutex.Lock()
	defer p.output.mutex.Unlock()
	p.output.clear()
}
