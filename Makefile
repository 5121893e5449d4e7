# Everything a developer runs. `make demo` and `make test` are the two that the
# README names; both need nothing installed beforehand but Go (and make).
GO      ?= go
LDFLAGS := -s -w
PROGRAMS := lockkeeperd lockkeeper-agent lockkeeper

.PHONY: build demo test chaos test-vm lint fmt bench clean

build: ## the three programs, static and stripped, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

demo: build ## a whole fleet on this machine, until Ctrl-C
	bin/lockkeeperd dev --nodes 12 --slots 2 --groups web,db

test: ## every test, race detector on; installs what is missing
	.ci/test

chaos: ## random kills, stops, cuts, disk faults and hang-ups for 45 minutes; RUNS=n, SEED=n makes a run again
	.ci/chaos $(RUNS) $(SEED)

test-vm: ## the agent on kernels in QEMU that reboot and lose power, and under a real systemd
	.ci/test-vm

lint: bin/tools/golangci-lint ## vet, style and the rules between the rooms
	bin/tools/golangci-lint run ./...

bin/tools/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fmt: ## gofmt over everything
	gofmt -w agent cmd coordinator semaphore web

bench: build ## the store, then a coordinator over HTTP, each beside raw etcd puts in the same run
	$(GO) test -run '^$$' -bench . -benchtime 1s ./semaphore/etcdstore
	docs/plots/measure bin

clean:
	rm -rf bin test-output
