package pebble

import (
	"bytes"
	"fmt"
	"net/http"
)

// manage posts to the management interface without a socket.
func (server *Server) manage(path string, body []byte) error {
	request, err := http.NewRequest(http.MethodPost, "http://management"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "testbed") // Pebble refuses requests without one
	request.RequestURI = path
	answer := &memory{header: http.Header{}, status: http.StatusOK}
	server.management.ServeHTTP(answer, request)
	if answer.status != http.StatusOK {
		return fmt.Errorf("pebble: %s: status %d: %s", path, answer.status, answer.body.String())
	}
	return nil
}

// memory is a ResponseWriter that keeps what is written.
type memory struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (memory *memory) Header() http.Header            { return memory.header }
func (memory *memory) WriteHeader(status int)         { memory.status = status }
func (memory *memory) Write(part []byte) (int, error) { return memory.body.Write(part) }
