# make build   ./backstay
# make demo    a small world to look at; nothing of this machine is touched
# make test    every test; ends with "N passed, 0 failed, 0 skipped"
# make deps    the Debian packages that the tests want (DEPS=no: none)
# make soak    long runs: kills, faults, many certificates
# make bench   the figures of bench/README.md, on this machine

export CGO_ENABLED = 0

.PHONY: build demo test deps soak bench clean

build:
	go build -trimpath -ldflags "-s -w" -o backstay ./cmd/backstay

demo: build
	./backstay demo

deps:
	@tools/deps test

test: deps
	@tools/test

soak: deps
	@bench/soak

bench:
	@tools/deps bench
	@bench/run

clean:
	rm -rf backstay bin dist
