# What one does with this repository. `make` alone lists it.
#
# Everything works as root (of a container or a test machine) and as an
# ordinary user with sudo. As root, the product is still only ever run by an
# unprivileged user, whom tests/env/lib.sh creates.

SHELL := /bin/sh

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

# The one place where build settings stand: the linter, the tests and the
# benchmarks inherit them from here. The tags choose pure Go where libraries
# would link C, so that the binary is static on every architecture.
TAGS := containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_zfs,exclude_graphdriver_aufs
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false -tags=$(TAGS)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
GO_BUILD := go build -trimpath -ldflags "$(LDFLAGS)"

# A static binary with everything in it may grow to this many bytes (35 MB).
MAX_SIZE := 35000000

GOLANGCI_LINT_VERSION := v2.12.2
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/builder-tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
ACTIONLINT_VERSION := v1.7.7
ACTIONLINT := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)/actionlint
NFPM_VERSION := v2.45.2
NFPM := $(TOOLS)/nfpm-$(NFPM_VERSION)/nfpm
CYCLONEDX_VERSION := v1.10.0
CYCLONEDX := $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION)/cyclonedx-gomod

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# Where the binary is compiled to, and installed from.
BINARY ?= bin/builder
.PHONY: build compile
build: compile ## compile bin/builder
compile:
	$(GO_BUILD) -o $(BINARY) ./cmd/builder

# The manual is made of the commands' definitions, by a builder for this machine.
# Its pages bear the date of the commit, or SOURCE_DATE_EPOCH.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
.PHONY: man
man: ## write the manual's pages into dist/man/man1
	rm -rf dist/man
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) GOOS= GOARCH= \
		go run -trimpath -ldflags "$(LDFLAGS)" ./cmd/builder man dist/man/man1

# What isn't there yet is made first; as root one only copies.
PREFIX ?= /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share
.PHONY: install
install: $(BINARY) dist/man/man1 ## copy binary, manual and completions to DESTDIR/PREFIX
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/builder
	install -d $(SHARE)/man/man1
	umask 022 && cp -P --no-preserve=mode dist/man/man1/* $(SHARE)/man/man1/
	install -D -m 0644 cmd/builder/completion/builder.bash $(SHARE)/bash-completion/completions/builder
	install -D -m 0644 cmd/builder/completion/builder.zsh $(SHARE)/zsh/site-functions/_builder
	install -D -m 0644 cmd/builder/completion/builder.fish $(SHARE)/fish/vendor_completions.d/builder.fish

$(BINARY):
	$(MAKE) compile
dist/man/man1:
	$(MAKE) man

.PHONY: cross
cross: ## compile dist/builder-linux-{amd64,arm64} and check their size
	@for arch in amd64 arm64; do \
		echo "$(GO_BUILD) -o dist/builder-linux-$$arch ./cmd/builder"; \
		GOOS=linux GOARCH=$$arch $(GO_BUILD) -o dist/builder-linux-$$arch ./cmd/builder || exit 1; \
		size=$$(stat -c %s dist/builder-linux-$$arch); \
		echo "dist/builder-linux-$$arch: $$size bytes"; \
		[ $$size -le $(MAX_SIZE) ] || { echo "more than $(MAX_SIZE) bytes"; exit 1; }; \
	done

# For which architectures, in Go's words: all for which rootless/chroot/seccomp has
# numbers of system calls.
RELEASE_ARCHES ?= amd64 arm64 386 arm riscv64 ppc64le s390x loong64
.PHONY: release
release: man $(NFPM) $(CYCLONEDX) ## make tarballs, .deb, .rpm and checksums in dist/release
	VERSION='$(VERSION)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' MAX_SIZE=$(MAX_SIZE) \
		NFPM='$(NFPM)' CYCLONEDX='$(CYCLONEDX)' packaging/release.sh $(RELEASE_ARCHES)

.PHONY: test
test: test-unit test-kubernetes test-e2e test-quick-places ## run all tests; installs the Debian packages they need

# tests/env/lib.sh is sourced by each of these scripts; it says what it
# installs and creates.
.PHONY: test-unit
test-unit: ## run the tests that stand beside the code
	PKG="$(PKG)" tests/env/unit.sh $(TESTFLAGS)

.PHONY: test-e2e
test-e2e: build ## run the end-to-end tests of bin/builder
	tests/env/e2e.sh $(TESTFLAGS)

# A module of its own, so that Kubernetes is no dependency of builder's. What it
# reads lies outside of it, which go test's cache doesn't see.
.PHONY: test-kubernetes
test-kubernetes: ## hold examples/kubernetes to Kubernetes's types and policies
	cd tests/kubernetes && go mod tidy -diff && go vet ./... && go test -count=1 ./...

.PHONY: test-packages
test-packages: ## make a release, install and remove it in clean Debian trees; root or sudo
	tests/env/packages.sh

# As root of a machine for tests, for it makes pods, clean Debians and a virtual machine.
.PHONY: test-places
test-places: build ## run bin/builder where its users are; -short without the virtual machine
	tests/env/places.sh $(TESTFLAGS)

.PHONY: test-quick-places
test-quick-places: build
	tests/env/places.sh -short

.PHONY: test-image
test-image: build ## build builder's own image, and have that build itself again
	tests/packages/image.sh

.PHONY: fuzz
fuzz: ## try strange input on all parsers, FUZZTIME=10000x each
	FUZZTIME="$(FUZZTIME)" tests/env/fuzz.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) $(ACTIONLINT) ## check style, vet, scripts and which room imports which
	@# What is remembered names files: a clone beside this one has its own.
	GOLANGCI_LINT_CACHE=$(CURDIR)/bin/lint-cache $(GOLANGCI_LINT) run ./...
	tests/env/shellcheck.sh
	$(ACTIONLINT)
	go mod tidy -diff
	@# Another compressor gives other bytes: the packer's version has to tell.
	@for m in compress pgzip; do \
		v=$$(sed -n "s|.*klauspost/$$m v||p" go.mod); \
		grep -q "PackerVersion = .*$$m-$$v" storage/layer/pack.go || \
			{ echo "storage/layer/pack.go: PackerVersion doesn't name $$m-$$v"; exit 1; }; \
	done

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format all Go files
	$(GOLANGCI_LINT) fmt ./...

# Compiled with plain settings: our tags are not meant for it.
$(GOLANGCI_LINT):
	GOFLAGS= GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(ACTIONLINT):
	GOFLAGS= GOBIN=$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

# Without our paths in it: a bill of materials names the checksum of what made it.
$(NFPM):
	GOFLAGS=-trimpath GOBIN=$(@D) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
$(CYCLONEDX):
	GOFLAGS=-trimpath GOBIN=$(@D) go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)

.PHONY: bench
bench: build ## measure, and write the tables of docs/performance.md
	tests/env/bench.sh $(BENCHFLAGS)

.PHONY: demo
demo: build ## build and run the tutorial's nginx image as an unprivileged user
	tests/demo/run.sh

.PHONY: clean
clean: ## remove what the targets above made in this directory
	rm -rf bin dist
