package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/backstay/backstay/finding"
)

// output is where everything is printed. The lock keeps lines whole and the
// progress line out of them.
type output struct {
	mutex    sync.Mutex
	stdout   io.Writer
	stderr   io.Writer
	err      error // the first failed write to stdout
	progress bool  // a progress line stands on stderr
}

// escape makes text from outside safe to show: the one place that renders.
func escape(text string) string { return finding.Text(text) }

// write sends data to standard output. After the first failure nothing is
// written any more; the program then ends with ExitFailed.
func (to *output) write(data []byte) {
	to.mutex.Lock()
	defer to.mutex.Unlock()
	if to.err != nil {
		return
	}
	to.clear()
	if _, err := to.stdout.Write(data); err != nil {
		to.err = err
	}
}

// Write makes output a writer for what prints by itself, such as help texts.
func (to *output) Write(data []byte) (int, error) {
	to.write(data)
	return len(data), to.failed()
}

func (to *output) failed() error {
	to.mutex.Lock()
	defer to.mutex.Unlock()
	if to.err == nil {
		return nil
	}
	return &failure{What: "could not write to standard output", Cause: to.err.Error(), Err: to.err}
}

func (to *output) message(line string) {
	to.mutex.Lock()
	defer to.mutex.Unlock()
	to.clear()
	io.WriteString(to.stderr, line) // standard error is all there is: its own failure cannot be told
}

// record prints v as one line of JSON when --json was given, else nothing. v
// has "kind" and "schema" of its own.
func (p *program) record(v any) {
	if !p.settings.json {
		return
	}
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(fmt.Sprintf("a record cannot be encoded: %v", err)) // a type of ours is wrong
	}
	p.output.write([]byte(escapeJSON(line.String())))
}

// escapeJSON writes what a terminal would obey and JSON leaves as it is (DEL,
// bidirectional controls, tags) as \u escapes: the same value, shown harmlessly.
func escapeJSON(encoded string) string {
	plain := func(r rune) bool { return r == '\n' || r != 0x7f && r < utf8.RuneSelf || unicode.IsPrint(r) }
	if !strings.ContainsFunc(encoded, func(r rune) bool { return !plain(r) }) {
		return encoded
	}
	var text strings.Builder
	for _, r := range encoded {
		switch {
		case plain(r):
			text.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&text, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&text, `\u%04x`, r)
		}
	}
	return text.String()
}

// printf prints text to standard output, nothing when --json was given. String
// arguments are escaped; the format is ours.
func (p *program) printf(format string, arguments ...any) {
	if p.settings.json {
		return
	}
	for index, each := range arguments {
		if value, ok := each.(string); ok {
			arguments[index] = escape(value)
		}
	}
	p.output.write(fmt.Appendf(nil, format, arguments...))
}

// table prints rows with aligned columns to standard output, nothing when
// --json was given. Cells are escaped; the last column is not padded.
func (p *program) table(header []string, rows [][]string) {
	if p.settings.json {
		return
	}
	all := append([][]string{header}, rows...)
	var widths []int
	escaped := make([][]string, 0, len(all))
	for _, row := range all {
		cells := make([]string, len(row))
		for column, cell := range row {
			cells[column] = escape(cell)
			if column == len(widths) {
				widths = append(widths, 0)
			}
			widths[column] = max(widths[column], utf8.RuneCountInString(cells[column]))
		}
		escaped = append(escaped, cells)
	}
	var text strings.Builder
	for _, row := range escaped {
		var line strings.Builder
		for column, cell := range row {
			line.WriteString(cell)
			if column < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell)+2))
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	p.output.write([]byte(text.String()))
}

// note says something on standard error, unless --quiet was given. String
// arguments are escaped.
func (p *program) note(format string, arguments ...any) {
	if p.settings.quiet {
		return
	}
	for index, each := range arguments {
		switch value := each.(type) {
		case string:
			arguments[index] = escape(value)
		case error:
			arguments[index] = escape(value.Error())
		}
	}
	p.output.message(fmt.Sprintf(format, arguments...) + "\n")
}

// detail is note for --verbose only.
func (p *program) detail(format string, arguments ...any) {
	if p.settings.verbose {
		p.note(format, arguments...)
	}
}

// tell prints a failure, --quiet or not: what, why, what next.
func (p *program) tell(failed *failure) {
	var text strings.Builder
	fmt.Fprintf(&text, "backstay: %s\n", escape(failed.What))
	if failed.Cause != "" {
		fmt.Fprintf(&text, "  cause: %s\n", escape(failed.Cause))
	}
	if failed.Next != "" {
		fmt.Fprintf(&text, "  next:  %s\n", escape(failed.Next))
	}
	for _, each := range failed.Findings {
		fmt.Fprintf(&text, "  %s %s: %s\n", each.Severity, each.Code, escape(each.Summary))
	}
	p.output.message(text.String())
}
