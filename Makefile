# The commands to know: `make run` and `make test`. Each does all its set-up by itself on a fresh Debian 12
# or 13 as root; anywhere else, .ci/need says what is missing.

PREFIX = /usr/local
DESTDIR =

# rustup's toolchain goes before the distribution's.
export PATH := $(HOME)/.cargo/bin:$(PATH)
TARGET := $(shell uname -m)-unknown-linux-gnu
OUT = $(or $(CARGO_TARGET_DIR),target)
LOCKED = $(if $(CI),--locked)
# At a fixed address: a start is two executions of this binary (src/seal.rs), and relocating it costs 0.15 ms of
# each, a fifteenth of a whole start. What is given up is the random place of the program's own code; stack, heap
# and mappings keep theirs.
STATIC = LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$$(pkg-config --variable=libdir libseccomp) \
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static"
COMMIT = $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)

NEED = @.ci/need
BUILD_NEEDS = rust gcc libc6-dev pkg-config libseccomp-dev

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\)[a-z -]*:.*## /\1\t/p' Makefile | expand -t 14

.PHONY: build
build: ## the static release binaries, build/rrunc and build/containerd-shim-rrunc-v2
	$(NEED) $(BUILD_NEEDS)
	RRUNC_COMMIT=$(COMMIT) $(STATIC) cargo build $(LOCKED) --release --target $(TARGET) \
		--package rrunc --package containerd-shim-rrunc --bins
	@install -D -t build $(addprefix $(OUT)/$(TARGET)/release/,rrunc containerd-shim-rrunc-v2)

.PHONY: run
run: bundle ## a container from the default bundle, which tells what it sees
	build/rrunc run --bundle build/bundle look-$$$$

.PHONY: bundle
bundle: build ## that bundle, build/bundle: busybox, `rrunc spec`, integration/bundle/look.sh
	$(NEED) busybox-static
	@rm -rf build/bundle && mkdir -p build/bundle/rootfs/bin
	@install $$(command -v busybox) integration/bundle/look.sh build/bundle/rootfs/bin
	@cd build/bundle/rootfs/bin && for applet in $$(./busybox --list | grep -vx busybox); do \
		ln -f busybox $$applet; \
	done
	@build/rrunc spec --bundle build/bundle
	@sed -i -e 's|"terminal": true|"terminal": false|' -e 's|^\(\s*\)"sh"$$|\1"look.sh"|' build/bundle/config.json

# In the order of what they take: the first to fail says most.
SUITES ?= lint unit spec-runc spec-crun spec spec-debug validation integration engines test-vm

.PHONY: test
test: ## all tests, each suite even if one before it failed
	@mkdir -p build; $(if $(filter validation engines test-vm,$(SUITES)),nice $(MAKE) -s caches >build/caches.log 2>&1 &) \
	failed=; for suite in $(SUITES); do \
		echo "=== $$suite"; begun=$$(date +%s); \
		$(MAKE) --no-print-directory $$suite || { echo "!!! $$suite failed"; failed="$$failed $$suite"; }; \
		echo "$$suite took $$(($$(date +%s) - begun)) s"; \
	done; wait; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

# Older clippies mind what newer ones have given up: they may warn, not fail.
DENY = $$(printf '%s\n' 1.90 $$(rustc -V | cut -d' ' -f2) | sort -VC && echo -D warnings)

# While the first suites compile and wait; a later one waits for what it needs of this, and makes it if this failed.
.PHONY: caches
caches: # what tests fetch, build and boot once
	spec-tests/validation/build
	spec-tests/validation/controls
	integration/vm/build

.PHONY: lint
lint: ## rustfmt and clippy, and cargo-deny where it is installed
	$(NEED) $(BUILD_NEEDS) rust-lint
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets --quiet -- $(DENY)
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --config .deny.toml check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources are not checked"; fi

.PHONY: fmt
fmt: ## format everything
	$(NEED) rust rust-lint
	cargo fmt --all

.PHONY: unit
unit: ## the tests beside the code, and the targets of fuzzing for a while; as root those with real cgroups too
	$(NEED) $(BUILD_NEEDS)
	cargo test $(LOCKED) --package rrunc --package containerd-shim-rrunc --package fuzz -- \
		$(if $(filter 0,$(shell id -u)),--include-ignored)

# Without a sanitizer, for what is asked is safe Rust; optimized, with debug assertions.
.PHONY: fuzz
fuzz: ## one parser under libFuzzer, or each in turn: TARGET=config RUNS=1000000; what it finds is in build/fuzz
	$(NEED) $(BUILD_NEEDS) g++
	@integration/fuzz/run "$(TARGET)" $(or $(RUNS),1000000)

.PHONY: inside
inside: # the static helper that spec-tests run in containers, and the root file systems around it
	$(NEED) $(BUILD_NEEDS) busybox-static iproute2 mmdebstrap uidmap
	@$(STATIC) cargo build $(LOCKED) --quiet --release --target $(TARGET) --package spec-tests --bin inside
	@spec-tests/debian-root >/dev/null

# More at a time than there are CPUs: what a control fails to do, its tests wait for.
SPEC = RUST_TEST_THREADS=8 cargo test $(LOCKED) --package spec-tests --tests

.PHONY: spec
spec: build inside ## does rrunc obey the specification?
	RUNTIME=$(CURDIR)/build/rrunc $(SPEC)

.PHONY: spec-runc spec-crun
spec-runc spec-crun: spec-%: inside ## the control: what a test asks must hold for runc or crun
	$(NEED) $*
	RUNTIME=$* $(SPEC)

.PHONY: spec-debug
spec-debug: inside ## with a build whose allocator aborts in the container's process, on the machine's own cgroups
	cargo build $(LOCKED) --bin rrunc
	CGROUP_VIEW=host RUNTIME=$(CURDIR)/$(OUT)/debug/rrunc $(SPEC)

.PHONY: validation
validation: build ## the specification's own validation programs, on rrunc, runc and crun
	$(NEED) $(BUILD_NEEDS)
	spec-tests/validation/run build/rrunc

.PHONY: matrix
matrix: build inside ## which tests of the specification rrunc, runc, crun and youki pass
	@spec-tests/matrix build/rrunc

.PHONY: integration
integration: bundle inside ## errors, crashes, leaks, hostile roots, and the shape of the source
	RRUNC=$(CURDIR)/build/rrunc RUNTIME=$(CURDIR)/build/rrunc cargo test $(LOCKED) --package integration --lib --test it
	RRUNC=$(CURDIR)/build/rrunc RUNTIME=$(CURDIR)/build/rrunc cargo test $(LOCKED) --package integration --test faults -- --every 25

.PHONY: faults
faults: bundle inside ## kill rrunc and its children at every system call, and let each fail; FAULTS="--every 5 --command run"
	RRUNC=$(CURDIR)/build/rrunc RUNTIME=$(CURDIR)/build/rrunc cargo test $(LOCKED) --package integration --test faults -- $(FAULTS)

.PHONY: soak
soak: bundle inside ## 10,000 containers, 1,000 at once, then SOAK seconds (7200) of mixed work: nothing is left, nothing grows
	SOAK=$(or $(SOAK),7200) RRUNC=$(CURDIR)/build/rrunc RUNTIME=$(CURDIR)/build/rrunc cargo test $(LOCKED) \
		--package integration --test it soak:: -- --nocapture --test-threads 1

.PHONY: engines
engines: deb ## Podman, Docker and Swarm, containerd, CRI, Buildah on rrunc and our shim, and on runc or crun as the control; SUITE=forky
	$(NEED) $(BUILD_NEEDS) mmdebstrap iproute2
	@integration/engines/all $(or $(SUITE),trixie)

.PHONY: test-vm
test-vm: deb inside ## in a virtual machine with systemd and all controllers: the tests that need one; TESTS="selftest …"
	integration/vm/test $(TESTS)

.PHONY: fresh
fresh: ## `make run` on a Debian 12 and a Debian 13 that have nothing but make
	$(NEED) mmdebstrap
	integration/fresh/run bookworm make run
	integration/fresh/run trixie make run

.PHONY: bench
bench: build ## how long it takes beside crun, runc and what the kernel must do; ROUNDS=60
	$(NEED) $(BUILD_NEEDS) busybox-static
	@cargo bench $(LOCKED) --quiet --package integration --bench lifecycle

.PHONY: bench-shim
bench-shim: deb ## how long containerd takes with our shim and with its own, and what each shim holds in memory
	$(NEED) mmdebstrap
	@integration/engines/world "$$(integration/engines/root $(or $(SUITE),trixie))" $(CURDIR)/integration/engines/suite \
		containerd shim $(CURDIR)/integration/engines/measure

.PHONY: install
install: build ## binary, man pages, completions below $(DESTDIR)$(PREFIX)
	install -D -t $(DESTDIR)$(PREFIX)/bin build/rrunc build/containerd-shim-rrunc-v2
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man7 man/man8 bash-completion/completions \
		zsh/site-functions fish/vendor_completions.d)
	cd $(DESTDIR)$(PREFIX)/share && rrunc=$(CURDIR)/build/rrunc && \
		$$rrunc man >man/man8/rrunc.8 && \
		$$rrunc man security >man/man7/rrunc-security.7 && \
		for command in $$($$rrunc help | sed -n '/^Commands:/,/^$$/s/^  \([a-z]*\) .*/\1/p'); do \
			$$rrunc man $$command >man/man8/rrunc-$$command.8; \
		done && \
		$$rrunc completion bash >bash-completion/completions/rrunc && \
		$$rrunc completion zsh >zsh/site-functions/_rrunc && \
		$$rrunc completion fish >fish/vendor_completions.d/rrunc.fish

.PHONY: deb
deb: build ## a Debian package of the same, with engines' drop-ins: build/rrunc_VERSION_ARCHITECTURE.deb
	@rm -rf build/deb
	@$(MAKE) --no-print-directory -s install DESTDIR=build/deb PREFIX=/usr
	@integration/deb/build build/deb

.PHONY: clean
clean: ## what all of this has made
	rm -rf build
	cargo clean
