package main

import (
	"sync"
	"time"

	"github.com/backstay/backstay/bench/world"
)

// prober is a visitor who comes every 10 ms.
type prober struct {
	server             *world.Server
	end                chan struct{}
	done               sync.WaitGroup
	handshakes, failed int
	firstError         string
}

func watch(s *world.Server) *prober {
	p := &prober{server: s, end: make(chan struct{})}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		ticks := time.NewTicker(10 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-p.end:
				return
			case <-ticks.C:
				p.look()
			}
		}
	}()
	return p
}

func (p *prober) look() {
	p.handshakes++
	if _, err := p.server.Served(); err != nil {
		p.failed++
		if p.firstError == "" {
			p.firstError = err.Error()
		}
	}
}

// stop ends the visits; the counts may be read afterwards.
func (p *prober) stop() {
	close(p.end)
	p.done.Wait()
}
