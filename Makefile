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

# The VM tests one at a time: each guest has two CPUs, as many as CI's machine.
VM_TESTS = $(CARGO) test --locked --release --test vm -- --ignored --test-threads 1

# One thing at a time: cargo and the VMs use all cores by themselves.
.NOTPARALLEL:
.DEFAULT_GOAL := build
.PHONY: help build run demo check test fuzz deny reproduce vm exact-table privileges-table faults fault-table soak \
	kernels bench bench-hotpath bench-peers install setcap uninstall clean deps deps-test deps-package \
	static deb package-test aarch64 deb-aarch64 test-aarch64 exact-table-aarch64

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

deps:
	@scripts/deps.sh build

deps-test:
	@scripts/deps.sh test

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

check: deps-test ## format, lints, unit tests and tests on this machine's own kernel
	$(CARGO) fmt --check
	clang-format --dry-run -Werror bpf/*.[ch]
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(AS_ROOT) $(CARGO) test --locked

test: check vm ## check, then the exactness suite on stock kernels in virtual machines

ifdef KERNEL
vm: deps-test ## only the virtual machines; or the exactness suite on one kernel: KERNEL=trixie/linux-image-rt-amd64
	$(CARGO) build --locked --release --bin flowtop --example traffic
	KERNEL=$(KERNEL) $(VM_TESTS) named_kernel
	@scripts/exact-table.sh $(TARGET)/exact-kernels >docs/EXACTNESS-kernels.md.new
	@mv docs/EXACTNESS-kernels.md.new docs/EXACTNESS-kernels.md
else
vm: deps-test kernels static
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@rm -rf $(TARGET)/exact $(TARGET)/privileges
	$(VM_TESTS) --skip faults_5 --skip faults_6 --skip aarch64 --skip named
endif

static: deps ## build one static binary: target/TRIPLE/release/flowtop
	@CARGO=$(CARGO) scripts/static.sh

deb: static ## build target/package/flowtop_VERSION_ARCH.deb of it
	@CARGO=$(CARGO) scripts/deb.sh

package-test: deps-package deb ## install the package into a fresh Debian, and have it looked at (root)
	@$(SUDO) scripts/package-test.sh

aarch64: deps-package ## cross-build the static binary in a Debian of its own (root; 2 GB in ~/.cache/flowtop)
	@scripts/aarch64.sh

deb-aarch64: static aarch64 ## build target/package/flowtop_VERSION_arm64.deb
	@CARGO=$(CARGO) scripts/deb.sh aarch64

test-aarch64: aarch64 ## the exactness suite on stock aarch64 kernels, in emulation: a quarter of an hour
	@rm -rf $(TARGET)/exact-aarch64
	$(VM_TESTS) aarch64

fuzz: deps ## a minute for each fuzz target (FUZZ='filter answer'; needs nightly Rust and cargo-fuzz)
	@scripts/fuzz.sh $(FUZZ)

deny: ## licences, duplicates and sources of all crates; advisories where their list can be had
	@scripts/deny.sh

reproduce: deps ## build the commit twice and compare the binaries
	@scripts/reproduce.sh

faults: deps-test kernels ## every fault as long as in life, and kills at many moments; long
	$(CARGO) build --locked --release --bin flowtop --example traffic
	FLOWTOP_LONG=1 $(AS_ROOT) $(CARGO) test --locked --release --test faults
	FLOWTOP_LONG=1 $(VM_TESTS) faults_ leftover_

fault-table: ## write docs/FAULTS.md from the last `make test` or `make faults`
	@scripts/fault-table.sh $(TARGET)/faults >docs/FAULTS.md.new
	@mv docs/FAULTS.md.new docs/FAULTS.md

soak: deps-test kernels ## everything for an hour in a virtual machine (SECONDS_LONG=300 KERNEL=6.1)
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@scripts/soak.sh $(RELEASE)

kernels: deps-test ## fetch the kernels that the virtual machines boot
	@for kernel in 5.10 6.1 6.12 7.2; do tests/vm/fetch-kernel.sh $$kernel >/dev/null || exit 1; done

exact-table: ## write docs/EXACTNESS.md from the last `make vm`
	@scripts/exact-table.sh $(TARGET)/exact >docs/EXACTNESS.md.new
	@mv docs/EXACTNESS.md.new docs/EXACTNESS.md

exact-table-aarch64: ## write docs/EXACTNESS-aarch64.md from the last `make test-aarch64`
	@scripts/exact-table.sh $(TARGET)/exact-aarch64 >docs/EXACTNESS-aarch64.md.new
	@mv docs/EXACTNESS-aarch64.md.new docs/EXACTNESS-aarch64.md

privileges-table: ## write docs/PRIVILEGES.md from the last `make test`
	@scripts/privileges-table.sh $(TARGET)/privileges $(TARGET)/lending >docs/PRIVILEGES.md.new
	@mv docs/PRIVILEGES.md.new docs/PRIVILEGES.md

bench: deps-test kernels ## measure everything and write docs/BENCHMARKS.md; an hour
	@benches/hotpath.sh
	@benches/drain.sh
	@benches/load.sh
	@benches/self.sh
	$(CARGO) bench --locked --bench scale >$(TARGET)/bench/scale.jsonl
	$(CARGO) bench --locked --bench screen >$(TARGET)/bench/screen.txt
	@benches/report.sh >docs/BENCHMARKS.md.new
	@mv docs/BENCHMARKS.md.new docs/BENCHMARKS.md

bench-hotpath: deps-test ## instructions a call costs, by kernel and backend (KERNELS='7.2 6.1')
	@benches/hotpath.sh $(KERNELS)

bench-peers: ## install what load is measured beside: nethogs, iftop, tcptop, bandwhich, rustnet
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
