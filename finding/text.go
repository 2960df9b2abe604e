package finding

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// combiningLimit is how many combining marks in a row are shown as they are.
// No living script needs more on one letter; a taller stack is drawn over the
// lines above and below it.
const combiningLimit = 4

// Text makes outside text safe to show to a person on a terminal, a page or in
// a log: what remains is valid UTF-8 in which every character is visible or an
// ASCII space. All else is escaped visibly: \x1b for a byte that is a control
// character or not UTF-8, \u202e and \U000e0041 for any other character.
//
// Text changes nothing in safe text, so applying it twice does no harm. The
// price is that a backslash is not escaped: text that holds the four visible
// characters \x1b looks the same as an escaped one. Both are harmless.
//
// It does not make text safe for HTML, CSV, Markdown or a shell; each of those
// has an escaper of its own on top.
func Text(s string) string {
	if safe(s) {
		return s
	}
	return escape(s, -1)
}

// TextAtMost is Text cut to at most limit characters; an ellipsis is the last of
// them when something was left out. An escape is never cut in half. A limit
// under 1 gives "".
func TextAtMost(s string, limit int) string {
	if limit < 1 {
		return ""
	}
	if len(s) <= limit && safe(s) {
		return s
	}
	return escape(s, limit)
}

// safe reports whether s is plain printable ASCII, the usual case, which then
// costs no allocation.
func safe(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// escape stops reading s as soon as limit characters are full, so that a huge
// outside text costs no more than what is shown of it. limit -1 means no limit.
func escape(s string, limit int) string {
	var out strings.Builder
	used, marks := 0, 0
	cut := -1 // length of out when one character less than limit was used
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		piece := s[:size]
		if hidden(r, size) || marks > combiningLimit {
			piece = escaped(r, s[0], size)
		}
		width := utf8.RuneCountInString(piece)
		if limit >= 0 {
			if used+width <= limit-1 {
				cut = out.Len() + len(piece)
			}
			if used+width > limit {
				return out.String()[:max(cut, 0)] + "…"
			}
		}
		out.WriteString(piece)
		used += width
		s = s[size:]
	}
	return out.String()
}

// hidden reports whether r is anything but a visible character or an ASCII
// space. unicode.IsPrint refuses control, format (bidirectional, zero-width,
// tag), surrogate, private and unassigned characters, line and paragraph
// separators and every space but the ASCII one. The rest of the list is what
// Unicode calls printable and no font draws.
func hidden(r rune, size int) bool {
	if r == utf8.RuneError && size <= 1 {
		return true
	}
	switch {
	case !unicode.IsPrint(r),
		r == 0x034f,              // combining grapheme joiner
		r == 0x115f, r == 0x1160, // Hangul fillers
		r == 0x17b4, r == 0x17b5, // Khmer inherent vowels
		r >= 0x180b && r <= 0x180f, // Mongolian variation selectors
		r == 0x2800,                // Braille blank
		r == 0x3164, r == 0xffa0,   // Hangul fillers
		r >= 0xfe00 && r <= 0xfe0f,   // variation selectors
		r >= 0xe0100 && r <= 0xe01ef: // variation selectors supplement
		return true
	}
	return false
}

func escaped(r rune, first byte, size int) string {
	switch {
	case size <= 1:
		return fmt.Sprintf(`\x%02x`, first)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	default:
		return fmt.Sprintf(`\u%04x`, r)
	}
}

// CSVCell makes outside text safe as a cell that a spreadsheet will open: it is
// Text, with a leading apostrophe where the cell could be taken for a formula.
// Quoting of commas and quotes is left to encoding/csv.
func CSVCell(s string) string {
	s = Text(s)
	// Spreadsheets may trim spaces before they look; full-width forms are taken
	// for the ASCII ones by some. A leading tab or return is already escaped.
	start, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " "))
	if strings.ContainsRune("=+-@＝＋－＠", start) && s != "" && start != utf8.RuneError {
		return "'" + s
	}
	return s
}
