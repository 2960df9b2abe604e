package authority

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// problem is an RFC 7807 document with an ACME type (RFC 8555 section 6.7).
type problem struct {
	Type        string       `json:"type"` // without the prefix while inside this package
	Detail      string       `json:"detail"`
	Status      int          `json:"status"`
	Subproblems []subproblem `json:"subproblems,omitempty"`
	Identifier  *Identifier  `json:"identifier,omitempty"`

	location   string        // Location header, for key conflicts
	retryAfter time.Duration // Retry-After header
}

type subproblem struct {
	Type       string     `json:"type"`
	Detail     string     `json:"detail"`
	Identifier Identifier `json:"identifier"`
}

const problemPrefix = "urn:ietf:params:acme:error:"

func refuse(status int, kind, format string, arguments ...any) *problem {
	return &problem{Type: kind, Status: status, Detail: fmt.Sprintf(format, arguments...)}
}

func malformed(format string, arguments ...any) *problem {
	return refuse(http.StatusBadRequest, "malformed", format, arguments...)
}

func unauthorized(format string, arguments ...any) *problem {
	return refuse(http.StatusForbidden, "unauthorized", format, arguments...)
}

func notFound(what string) *problem {
	return refuse(http.StatusNotFound, "malformed", "%s not found", what)
}

// document is the problem as it is shown inside other objects.
func (problem *problem) document() map[string]any {
	if problem == nil {
		return nil
	}
	document := map[string]any{"type": problemPrefix + problem.Type, "detail": problem.Detail, "status": problem.Status}
	if problem.Identifier != nil {
		document["identifier"] = problem.Identifier
	}
	if len(problem.Subproblems) > 0 {
		subproblems := make([]subproblem, len(problem.Subproblems))
		for index, one := range problem.Subproblems {
			one.Type = problemPrefix + one.Type
			subproblems[index] = one
		}
		document["subproblems"] = subproblems
	}
	return document
}

func (problem *problem) write(writer http.ResponseWriter) {
	writer.Header().Set("Content-Type", "application/problem+json")
	if problem.location != "" {
		writer.Header().Set("Location", problem.location)
	}
	if problem.retryAfter > 0 {
		writer.Header().Set("Retry-After", seconds(problem.retryAfter))
	}
	writer.WriteHeader(problem.Status)
	json.NewEncoder(writer).Encode(problem.document())
}

// seconds writes a duration for a Retry-After header: at least one second.
func seconds(duration time.Duration) string {
	return strconv.Itoa(max(1, int((duration+time.Second-1)/time.Second)))
}
