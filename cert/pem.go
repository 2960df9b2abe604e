package cert

import (
	"bytes"
	"iter"
)

// pemBlock is one block as it stands in a file, not decoded yet.
type pemBlock struct {
	label string
	line  int    // of its first line, counted from 1
	text  []byte // from its BEGIN line to its END line
}

var (
	beginMark = []byte("-----BEGIN ")
	endMark   = []byte("-----END ")
	dashes    = []byte("-----")
)

// pemBlocks cuts data into blocks, each line looked at once. encoding/pem alone
// would do, but its search restarts inside damaged blocks, which was quadratic
// twice (T1), and it skips them silently; here each reaches the caller, with
// its line. A block that is never ended reaches to the next BEGIN or the end.
func pemBlocks(data []byte) iter.Seq[pemBlock] {
	return func(yield func(pemBlock) bool) {
		var open *pemBlock
		start, number := 0, 0
		for offset := 0; offset < len(data); {
			number++
			end := offset + bytes.IndexByte(data[offset:], '\n') + 1
			if end == offset {
				end = len(data)
			}
			line := bytes.TrimSpace(data[offset:end])
			if number == 1 {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			if label, ok := marked(line, beginMark); ok {
				if open != nil {
					open.text = data[start:offset]
					if !yield(*open) {
						return
					}
				}
				open = &pemBlock{label: label, line: number}
				start = offset + bytes.Index(data[offset:end], beginMark)
			} else if _, ok := marked(line, endMark); ok && open != nil {
				open.text = data[start:end]
				if !yield(*open) {
					return
				}
				open = nil
			}
			offset = end
		}
		if open != nil {
			open.text = data[start:]
			yield(*open)
		}
	}
}

// maxLabel keeps a line of a megabyte from becoming a label.
const maxLabel = 64

func marked(line, mark []byte) (label string, ok bool) {
	if !bytes.HasPrefix(line, mark) || !bytes.HasSuffix(line, dashes) || len(line) < len(mark)+len(dashes) {
		return "", false
	}
	inner := line[len(mark) : len(line)-len(dashes)]
	if len(inner) > maxLabel {
		return "", false
	}
	return string(inner), true
}
