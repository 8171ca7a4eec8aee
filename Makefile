# kirikae: rehearse the loss of a region, and prove what it cost. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The same for every program and test, so that what all of them stand on is compiled once.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -trimpath

BIN  := bin
SEED ?=
RUN   = $(BIN)/kirikae run $(if $(SEED),--seed $(SEED))

# Where the stores of a tier's drills keep their data: in memory a sync costs nothing, which two cores and one disk under two regions need.
# `make drill` is on disk, and so is everything where the machine has no room in memory.
VOLUMES ?= $(shell [ "$$(df -Pk -t tmpfs /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -ge 4194304 ] 2>/dev/null && echo memory || echo disk)

# Tags of the scenarios say in which tier a drill is played: @ci and @ci_docker by make test, @interrupted by turns, by date.
DAY ?= $(shell date -u +%F)

.PHONY: help build provision docker images ready drill test unit rest real live drills known-bad bench nightly lint clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## build kirikae and paymentd into bin/
	go build -o $(BIN)/ ./cmd/kirikae ./cmd/paymentd

provision: build ## fetch MySQL, Java and Cassandra into the user's cache (once; nothing on the system changes)
	$(BIN)/kirikae provision

docker: ## a Docker engine that answers: where none does, Debian's is installed and started (root)
	@.ci/docker

images: provision ## build the images of the containers, without an image registry; what is unchanged is not built again
	GOOS=linux go build -buildvcs=false -ldflags '-s -w' -o $(BIN)/linux/ ./cmd/inside ./cmd/paymentd
	$(BIN)/kirikae images

ready: provision ## what a drill needs: servers, and images where an engine answers
	@if docker version >/dev/null 2>&1; then $(MAKE) --no-print-directory images; fi

drill: ready ## the main job: Tokyo is lost under load, Osaka is brought up, the verdict is evidence (SEED=7 repeats one)
	$(RUN) features/region_loss.feature

# The packages that have tests of servers, which `live` plays with everything else that they have. go test begins them in this order, two at
# once: those that take longest are the first.
SERVED = ./topology/docker ./cmd/kirikae ./topology/local ./cmd/... ./topology/... ./payment/...

# Tests are linked without what a debugger reads, and not vetted again: lint has.
TESTING = -vet=off -ldflags '-s -w'

test: lint ## all tests: unit, contract suites on real servers, the drills of the test tier, in both runtimes
	@without=; .ci/docker || { without=1; echo "left out, as no Docker engine can be had here: everything in containers"; }; \
		$(MAKE) --no-print-directory -j2 rest real WITHOUT_DOCKER=$$without && \
		$(MAKE) --no-print-directory live drills WITHOUT_DOCKER=$$without

rest: # all other tests, the last packages first; one that skips itself is listed by name
	@mkdir -p reports/out
	@set -o pipefail; go test -v $(TESTING) $$(go list ./... | grep -vxFf <(go list $(SERVED)) | sort -r) 2>&1 \
		| tee reports/out/rest.log | grep --line-buffered -E '^(ok|FAIL|panic:)|^ *--- (FAIL|SKIP)' \
		|| { grep -E -B 40 '^ *--- FAIL|^panic:' reports/out/rest.log | tail -n 400; exit 1; }

unit: lint ## tests that need no server
	go test ./...

WITHOUT_DOCKER ?=
REAL = provision $(if $(WITHOUT_DOCKER),,images)

real: $(REAL)

live: $(REAL) ## every test of what runs servers, on real servers and containers; what was skipped is listed by name
	@mkdir -p reports/out
	@if go test -count=1 $(TESTING) ./steps -run 'TestFeatures/nosuch' >/dev/null 2>&1; then echo "go test passes although it ran no drill" >&2; exit 1; fi
	@set -o pipefail; KIRIKAE_LIVE=1 KIRIKAE_WITHOUT_DOCKER=$(WITHOUT_DOCKER) go test -v -count=1 -p 2 -timeout 15m $(TESTING) -skip "^TestNightly" $(SERVED) 2>&1 \
		| tee reports/out/live.log | grep --line-buffered -E '^(ok|FAIL|--- FAIL|panic:)' || { tail -n 200 reports/out/live.log; exit 1; }
	@grep -E '^ *--- SKIP' reports/out/live.log | sed 's/^ *--- SKIP:/skipped:/' || true
	@grep -oE 'left out: .*' reports/out/live.log || true
	@grep -rhoE --include='*_test.go' '^func TestNightly[A-Za-z]*' topology payment cmd | sort | uniq -c | sed 's/^ *\([0-9]*\) func \(.*\)/left out: \2, \1 of them (make nightly)/'
	@echo "left out: a drill under go test, and all kills but $${KIRIKAE_KILLS:-one} (make nightly)"

drills: $(REAL) ## the drills of the test tier, in both runtimes; what the tier leaves out is listed
	@$(foreach r,local $(if $(WITHOUT_DOCKER),,docker),echo "drills in $r"; $(RUN) --runtime $r --volumes $(VOLUMES) --tier test --day $(DAY) || exit $$?; echo "end of drills in $r";)

known-bad: ready ## only the planted rows
	$(RUN) --volumes $(VOLUMES) --tags "@known_bad"

bench: ## benchmarks of judges and history
	go test -run '^$$' -bench . -benchmem ./drill/...

nightly: export KIRIKAE_KILLS := 4
nightly: unit docker live ## everything, in both runtimes
	KIRIKAE_LIVE=1 go test -v -count=1 -p 1 -timeout 20m ./topology/... -run "^TestNightly"
	go test -v -count=1 -timeout 10m ./steps -run 'TestFeatures/The_load_is_too_thin_to_say_anything$$'
	@failed=; for r in local docker; do $(RUN) --runtime $$r --volumes $(VOLUMES) --tier nightly || failed="$$failed $$r"; done; \
		[ -z "$$failed" ] || { echo "not every drill was as expected in:$$failed" >&2; exit 1; }

lint: ## formatting and vet
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...

clean: ## remove what was built and the run folders; the provisioned cache stays
	rm -rf $(BIN) reports/out
