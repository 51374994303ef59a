# `make run` and `make test` are all one needs: both install what is missing first
# (and say what). BPF needs root: as root it runs as it is, else by sudo; nothing is
# ever built under sudo.

CARGO  ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PREFIX ?= /usr/local
# Arguments for flowtop: make run ARGS='-n 5 -i 500ms'
ARGS   ?=
# Fuzz targets: none named means all.
FUZZ   ?=
# full: the virtual machines give scenarios (s01 to s24) their whole sizes and paces.
SCENARIOS ?=
export SCENARIOS
# Kernels to measure the hot path on: none named means all.
KERNELS ?=
# What `make release` may overlook: DIRTY=--allow-dirty takes a tree with changes that are in no commit.
DIRTY   ?=
# One guest for `make vm-one`.
BACKEND ?= auto
CASES   ?= tcp udp
# Guests at once. Each has two CPUs and waits a third of its time.
GUESTS  ?= $(shell nproc)

MANPAGE   = share/man/man8/flowtop.8
BASH_FILE = share/bash-completion/completions/flowtop
ZSH_FILE  = share/zsh/site-functions/_flowtop
FISH_FILE = share/fish/vendor_completions.d/flowtop.fish

TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
IS_ROOT := $(filter 0,$(shell id -u))
SUDO    := $(if $(IS_ROOT),,sudo)

# Tests that load BPF get root by sudo, one test binary at a time; the rest of cargo
# stays the user. CARGO_TARGET_<TRIPLE>_RUNNER is cargo's own hook for that.
TRIPLE   = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
AS_ROOT  = $(if $(IS_ROOT),,CARGO_TARGET_$(TRIPLE)_RUNNER='sudo -E')

# Integration tests, as cargo finds them, but those of virtual machines.
TESTS    = $(filter-out vm,$(sort $(basename $(notdir $(wildcard tests/*.rs))) \
               $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs))))
# Those that may run beside each other: they mostly wait, and none counts the whole machine or takes
# all of its CPUs.
BESIDE   = docs interactive kernel layering offline
# Without optimisation: only what the guests run is measured.
VM_TESTS = $(CARGO) test --locked --test vm -- --ignored
# Prints the command and notes its time for `make times`.
TIMED    = scripts/timed.sh

# One thing at a time: cargo and the VMs use all cores by themselves.
.NOTPARALLEL:
.DEFAULT_GOAL := build
.PHONY: help build run demo check test fuzz deny check-crate check-reproducible times times-begin \
	test-vm vm-one test-faults test-aarch64 test-package soak docs-exactness \
	docs-exactness-aarch64 docs-privileges docs-faults fetch-kernels bench bench-hotpath \
	bench-peers versus install setcap uninstall clean deps deps-test deps-package static build-guest \
	build-aarch64 image deb deb-aarch64 rpm rpm-aarch64 release release-all vm kernels faults aarch64 package-test reproduce exact-table \
	exact-table-aarch64 privileges-table fault-table

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 34

deps:
	@scripts/deps.sh build

deps-test:
	@scripts/deps.sh test
	@$(if $(CI),true,scripts/engines.sh >/dev/null) || echo "Tests of contrib are left out; in CI they fail."

deps-package:
	@scripts/deps.sh package

build: deps ## build target/release/flowtop
	$(CARGO) build --locked --release --bin flowtop

run: build ## build and run it (ARGS='-n 5'); five intervals as text without a terminal
	@set -- $(ARGS); if [ $$# -eq 0 ] && ! [ -t 1 ]; then set -- --batch -c 5; fi; \
	exec $(SUDO) $(RELEASE)/flowtop "$$@"

demo: deps ## run it beside traffic made for it
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@scripts/demo.sh $(RELEASE)/flowtop $(RELEASE)/examples/traffic $(ARGS)

check: deps-test times-begin ## format, lints, unit tests and tests on this machine's own kernel
	@$(TIMED) "format of Rust" $(CARGO) fmt --check
	@$(TIMED) "format of C" clang-format --dry-run -Werror $(wildcard bpf/*.[ch])
	@$(TIMED) "lints" $(CARGO) clippy --locked --all-targets -- -D warnings
	@$(TIMED) "links of the code's documentation" env RUSTDOCFLAGS=-Dwarnings $(CARGO) doc \
	    --locked --no-deps --document-private-items --quiet
	@$(TIMED) "build of the tests" $(CARGO) test --locked --no-run
	@! command -v mandoc >/dev/null || \
	    $(TIMED) "manual page" sh -c '$(TARGET)/debug/flowtop --man | mandoc -T lint -W warning'
	@$(AS_ROOT) $(TIMED) "unit tests" $(CARGO) test --locked --lib --bins
	@$(AS_ROOT) scripts/beside.sh $(BESIDE)
	@for test in $(filter-out $(BESIDE),$(TESTS)); do \
	    $(AS_ROOT) $(TIMED) "tests/$$test" $(CARGO) test --locked --test $$test || exit 1; \
	done

test: check test-vm ## check, then the exactness suite on stock kernels in virtual machines
	@$(TIMED) --table

times: ## print where the time of the last `make test` or `make check` went
	@$(TIMED) --table

# .ci/run begins earlier.
times-begin:
	@$(if $(CI),,$(TIMED) --begin)

ifdef KERNEL
test-vm: deps-test build-guest ## only the virtual machines; or the exactness suite on one kernel: KERNEL=trixie/linux-image-rt-amd64
	KERNEL=$(KERNEL) $(VM_TESTS) named::
	@scripts/exact-table.sh $(TARGET)/exact-kernels >docs/EXACTNESS-kernels.md.new
	@mv docs/EXACTNESS-kernels.md.new docs/EXACTNESS-kernels.md
else
test-vm: deps-test times-begin fetch-kernels build-guest
	@rm -rf $(TARGET)/exact $(TARGET)/privileges
	@$(TIMED) "virtual machines, $(GUESTS) at once" $(VM_TESTS) --test-threads $(GUESTS) \
	    exact:: leftover:: hybrid:: tree:: privileges:: alone::
	@$(TIMED) "virtual machines, one at a time" $(VM_TESTS) --test-threads 1 storm:: faults::linux_7_2
endif

# The debug build: a change of the kernel side is tried half a minute after it is saved.
vm-one: deps-test ## cases of the exactness suite in one guest: KERNEL=6.12 BACKEND=kprobe CASES='udp tcp_v4'
	$(CARGO) build --locked --bin flowtop --example traffic
	tests/vm/run.sh --kernel $(or $(KERNEL),7.2) --file $(TARGET)/debug/flowtop:/bin/flowtop \
	    --file $(TARGET)/debug/examples/traffic:/bin/traffic -- traffic check --flowtop /bin/flowtop \
	    --backend $(BACKEND) $(CASES:%="--case '%*'") --case-timeout 120

static: deps ## build one static binary: target/TRIPLE/release/flowtop
	@CARGO=$(CARGO) scripts/static.sh

# What the guests run: the static binary, and the generator of the exactness suite beside it.
build-guest: deps times-begin
	@CARGO=$(CARGO) $(TIMED) "build of what the guests run" scripts/static.sh --example traffic

image: static ## build a container image of it: localhost/flowtop:VERSION; no network
	@CARGO=$(CARGO) scripts/image.sh

deb: static ## build target/package/flowtop_VERSION_ARCH.deb of it
	@CARGO=$(CARGO) scripts/deb.sh

rpm: static deps-package ## build target/package/flowtop-VERSION-1.ARCH.rpm of it
	@scripts/rpm.sh

release: static deps-package ## make tarball, .deb, RPM, bill of materials and SHA256SUMS in target/dist/VERSION, and test them
	@CARGO=$(CARGO) scripts/release.sh $(DIRTY)
	@scripts/release-test.sh

release-all: static build-aarch64 ## likewise for x86_64 and aarch64 (root)
	@CARGO=$(CARGO) scripts/release.sh $(DIRTY) x86_64 aarch64
	@scripts/release-test.sh

test-package: deps-package deb rpm ## install the packages into a fresh Debian, and have them looked at (root)
	@$(SUDO) scripts/package-test.sh

build-aarch64: deps-package ## cross-build the static binary in a Debian of its own (root; 2 GB in ~/.cache/flowtop)
	@scripts/aarch64.sh

deb-aarch64: static build-aarch64 ## build target/package/flowtop_VERSION_arm64.deb
	@CARGO=$(CARGO) scripts/deb.sh aarch64

rpm-aarch64: static build-aarch64 ## build target/package/flowtop-VERSION-1.aarch64.rpm
	@scripts/rpm.sh aarch64

test-aarch64: build-aarch64 ## the exactness suite on stock aarch64 kernels, in emulation: a quarter of an hour
	@rm -rf $(TARGET)/exact-aarch64
	$(VM_TESTS) --test-threads 1 aarch64::

fuzz: deps ## a minute for each fuzz target (FUZZ='filter answer'; needs nightly Rust and cargo-fuzz)
	@scripts/fuzz.sh $(FUZZ)

deny: ## licences, duplicates and sources of all crates; advisories where their list can be had
	@scripts/deny.sh

check-crate: deps ## build what `cargo publish` would upload; no network
	$(CARGO) package --locked --offline --allow-dirty

check-reproducible: deps ## build the commit twice and compare the binaries
	@scripts/reproduce.sh

test-faults: deps-test fetch-kernels build-guest ## every fault as long as in life, and kills at many moments; long
	FLOWTOP_LONG=1 $(AS_ROOT) $(CARGO) test --locked --release --test faults
	FLOWTOP_LONG=1 $(VM_TESTS) --test-threads 1 faults:: leftover::

docs-faults: ## write docs/FAULTS.md from the last `make test` or `make test-faults`
	@scripts/fault-table.sh $(TARGET)/faults >docs/FAULTS.md.new
	@mv docs/FAULTS.md.new docs/FAULTS.md

soak: deps-test fetch-kernels ## everything for an hour in a virtual machine (SECONDS_LONG=300 KERNEL=6.1)
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@scripts/soak.sh $(RELEASE)

fetch-kernels: deps-test ## fetch the kernels that the virtual machines boot
	@for kernel in 5.10 6.1 6.12 7.2; do tests/vm/fetch-kernel.sh $$kernel >/dev/null || exit 1; done

docs-exactness: ## write docs/EXACTNESS.md from the last `make test-vm`
	@scripts/exact-table.sh $(TARGET)/exact >docs/EXACTNESS.md.new
	@mv docs/EXACTNESS.md.new docs/EXACTNESS.md

docs-exactness-aarch64: ## write docs/EXACTNESS-aarch64.md from the last `make test-aarch64`
	@scripts/exact-table.sh $(TARGET)/exact-aarch64 >docs/EXACTNESS-aarch64.md.new
	@mv docs/EXACTNESS-aarch64.md.new docs/EXACTNESS-aarch64.md

docs-privileges: ## write docs/PRIVILEGES.md from the last `make test`
	@scripts/privileges-table.sh $(TARGET)/privileges $(TARGET)/lending >docs/PRIVILEGES.md.new
	@mv docs/PRIVILEGES.md.new docs/PRIVILEGES.md

bench: deps-test fetch-kernels ## measure everything and write docs/BENCHMARKS.md; an hour
	@benches/hotpath.sh
	@benches/contention.sh
	@benches/drain.sh
	@benches/load.sh
	@benches/self.sh
	$(CARGO) bench --locked --bench scale >$(TARGET)/bench/scale.jsonl
	$(CARGO) bench --locked --bench screen >$(TARGET)/bench/screen.txt
	@benches/report.sh >docs/BENCHMARKS.md.new
	@mv docs/BENCHMARKS.md.new docs/BENCHMARKS.md

bench-hotpath: deps-test ## instructions a call costs, by kernel and backend (KERNELS='7.2 6.1')
	@benches/hotpath.sh $(KERNELS)

versus: deps-test ## the 24 scenarios beside other programs, and docs/VERSUS.md (make bench-peers installs them; root)
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@$(SUDO) env PATH="$$PATH" CARGO_TARGET_DIR="$(TARGET)" QUICK="$(QUICK)" benches/versus/versus.py run
	@$(SUDO) env PATH="$$PATH" CARGO_TARGET_DIR="$(TARGET)" QUICK="$(QUICK)" benches/versus/versus.py guest $(KERNELS)
	@CARGO_TARGET_DIR="$(TARGET)" QUICK="$(QUICK)" benches/versus/versus.py page >docs/VERSUS.md.new
	@mv docs/VERSUS.md.new docs/VERSUS.md

bench-peers: ## install what is measured beside: nethogs, iftop, tcptop, bandwhich, rustnet
	@benches/peers.sh

install: build ## install into PREFIX (/usr/local), with manual page and completions
	install -D -m 755 $(RELEASE)/flowtop $(DESTDIR)$(PREFIX)/bin/flowtop
	$(RELEASE)/flowtop --man | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/$(MANPAGE)
	for shell in bash zsh fish; do \
	    $(RELEASE)/flowtop --completions $$shell >$(RELEASE)/completions.$$shell || exit 1; \
	done
	install -D -m 644 $(RELEASE)/completions.bash $(DESTDIR)$(PREFIX)/$(BASH_FILE)
	install -D -m 644 $(RELEASE)/completions.zsh $(DESTDIR)$(PREFIX)/$(ZSH_FILE)
	install -D -m 644 $(RELEASE)/completions.fish $(DESTDIR)$(PREFIX)/$(FISH_FILE)

# The doctor says which: it depends on the kernel and its settings. Whoever may run the file then sees
# everyone's flows, so it is for the file's group alone.
CAPS_GROUP ?= root
setcap: ## let members of a group run it without sudo (CAPS_GROUP=adm); make install first
	@file=$(DESTDIR)$(PREFIX)/bin/flowtop; \
	caps=$$($$file --doctor --json | sed -n 's/.*"setcap":"\([^"]*\)".*/\1/p'); \
	$(SUDO) chgrp $(CAPS_GROUP) "$$file" && $(SUDO) chmod 750 "$$file" && \
	$(SUDO) setcap "$$caps" "$$file" && echo "$$file: $$caps, for the group $(CAPS_GROUP)"

uninstall:
	cd $(DESTDIR)$(PREFIX) && rm -f bin/flowtop $(MANPAGE) $(BASH_FILE) $(ZSH_FILE) $(FISH_FILE)

clean: ## remove what was built; the kernels stay in ~/.cache/flowtop
	$(CARGO) clean

# Former names of these targets, kept for one release.
vm: test-vm
kernels: fetch-kernels
faults: test-faults
aarch64: build-aarch64
package-test: test-package
reproduce: check-reproducible
exact-table: docs-exactness
exact-table-aarch64: docs-exactness-aarch64
privileges-table: docs-privileges
fault-table: docs-faults
