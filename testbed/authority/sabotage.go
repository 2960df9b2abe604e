package authority

import (
	"io"
	"net/http"
	"strconv"
)

// hostile is what a liar may write into an error text: it must come out of every
// program as plain text.
const hostile = "\x1b]0;owned\x07\x1b[2J\x1b[31mALERT\x1b[0m \r\nSubject: forged\r\n\r\n" +
	"$(touch /tmp/backstay-owned) `id` '; DROP TABLE certificates; -- <script>alert(1)</script> \u202egnp.exe =cmd|'/c calc'!A1"

// sabotageBefore commits the faults in which the request is not processed. It
// tells whether it has dealt with the request.
func (authority *Authority) sabotageBefore(writer http.ResponseWriter, call *call) bool {
	if call.rule == nil {
		return false
	}
	switch call.rule.What {
	case Answer:
		authority.answerRule(writer, call.rule)
	case Hang:
		// Without an answer, until the client or the authority ends.
		select {
		case <-call.request.Context().Done():
		case <-authority.lifetime.Done():
		}
		panic(http.ErrAbortHandler)
	case ResetBefore:
		panic(http.ErrAbortHandler)
	case BadNonce:
		authority.refuseWith(writer, refuse(http.StatusBadRequest, "badNonce", "the nonce is refused by a fault rule"))
	case Redirect:
		writer.Header().Set("Location", call.rule.URL)
		writer.WriteHeader(http.StatusFound)
	case HostileText:
		authority.refuseWith(writer, malformed("%s", hostile))
	case Garbage:
		writer.Header().Set("Content-Type", "application/json")
		writer.Write([]byte("\x00\x01\xff<html>{\"status\": \"valid\""))
	default:
		return false
	}
	return true
}

// sabotageAfter sends the answer, or what a fault leaves of it.
func (authority *Authority) sabotageAfter(writer http.ResponseWriter, call *call, given *answer) {
	switch {
	case call.fault(ResetAfter):
		panic(http.ErrAbortHandler)
	case call.fault(Truncate):
		status, body := given.render(writer.Header())
		// The announced length and the sent one differ: the client must notice.
		writer.Header().Set("Content-Length", strconv.Itoa(max(len(body), 2)))
		writer.WriteHeader(status)
		writer.Write(body[:len(body)/2])
		if flusher, ok := writer.(http.Flusher); ok {
			flusher.Flush()
		}
		panic(http.ErrAbortHandler)
	default:
		given.send(writer)
	}
}

func (authority *Authority) refuseWith(writer http.ResponseWriter, refusal *problem) {
	authority.mutex.Lock()
	nonce := authority.newNonce()
	authority.mutex.Unlock()
	writer.Header().Set("Replay-Nonce", nonce)
	refusal.write(writer)
}

func (authority *Authority) answerRule(writer http.ResponseWriter, rule *Rule) {
	status := rule.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if rule.Problem != "" {
		refusal := refuse(status, rule.Problem, "%s", rule.Detail)
		refusal.retryAfter = rule.RetryAfter
		authority.refuseWith(writer, refusal)
		return
	}
	if rule.RetryAfter > 0 {
		writer.Header().Set("Retry-After", seconds(rule.RetryAfter))
	}
	writer.Header().Set("Content-Type", "text/html")
	writer.WriteHeader(status)
	io.WriteString(writer, "<html><body>"+http.StatusText(status)+"</body></html>\n")
}
