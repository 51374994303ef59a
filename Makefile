# `make run` and `make test` are all one needs: both install what is missing first
# (and say what). BPF needs root: as root it runs as it is, else by sudo; nothing is
# ever built under sudo.

CARGO  ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PREFIX ?= /usr/local
# Arguments for flowtop: make run ARGS='-n 5 -i 500ms'
ARGS   ?=
# Fuzz targets: none named means all.
FUZZ   ?=
# Kernels to measure the hot path on: none named means all.
KERNELS ?=

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
.PHONY: help build run demo check test fuzz deny reproduce vm exact-table privileges-table faults fault-table soak
.PHONY: kernels bench bench-hotpath bench-peers install setcap uninstall clean deps deps-test

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

deps:
	@scripts/deps.sh build

deps-test:
	@scripts/deps.sh test

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

vm: deps-test kernels ## only the virtual machines; reports in target/exact, consoles in target/vm
	$(CARGO) build --locked --release --bin flowtop --example traffic
	@rm -rf $(TARGET)/exact $(TARGET)/privileges
	$(VM_TESTS) --skip faults_5 --skip faults_6

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

privileges-table: ## write docs/PRIVILEGES.md from the last `make vm`
	@scripts/privileges-table.sh $(TARGET)/privileges >docs/PRIVILEGES.md.new
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

install: build ## install into PREFIX (/usr/local)
	install -D -m 755 $(RELEASE)/flowtop $(DESTDIR)$(PREFIX)/bin/flowtop

# The doctor says which: it depends on the kernel and its settings. Whoever may run the file then sees
# everyone's flows, so it is for the file's group alone.
CAPS_GROUP ?= root
setcap: ## let members of a group run it without sudo (CAPS_GROUP=adm); make install first
	@file=$(DESTDIR)$(PREFIX)/bin/flowtop; \
	caps=$$($$file --doctor --json | sed -n 's/.*"setcap":"\([^"]*\)".*/\1/p'); \
	$(SUDO) chgrp $(CAPS_GROUP) "$$file" && $(SUDO) chmod 750 "$$file" && \
	$(SUDO) setcap "$$caps" "$$file" && echo "$$file: $$caps, for the group $(CAPS_GROUP)"

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/flowtop

clean: ## remove what was built; the kernels stay in ~/.cache/flowtop
	$(CARGO) clean
