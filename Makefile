# SPDX-License-Identifier: MIT
# A thin front door to meson and ninja. `make help` says what there is.
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 10

.PHONY: all demo test bench fuzz evidence install clean help deps-build deps-test deps-bench deps-fuzz

all: deps-build
	@scripts/build build

deps-build:
	@scripts/install-deps build
deps-test:
	@scripts/install-deps build test
deps-bench:
	@scripts/install-deps build bench
deps-fuzz:
	@scripts/install-deps build fuzz

demo: all
	@build/tool/telex demo $(ARGS)

test: deps-test
	@tests/run $(ARGS)

bench: deps-bench
	@scripts/build build -- all all-bench
	@bench/run $(ARGS)

fuzz: deps-fuzz
	@CC=clang scripts/build build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -- all-fuzz
	@tests/fuzz/run build-fuzz $(SECONDS)

evidence: deps-test deps-bench deps-fuzz
	@tests/run --long $(ARGS)
	@$(MAKE) --no-print-directory fuzz SECONDS=60
	@$(MAKE) --no-print-directory bench

install: all
	@meson configure build -Dprefix=$(PREFIX)
	@ninja -C build
	@DESTDIR=$(abspath $(DESTDIR)) meson install -C build --no-rebuild
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" -eq 0 ]; then ldconfig; fi

clean:
	rm -rf build build-asan build-clang build-fuzz build-tsan

help:
	@echo 'make            build the library and the command into build/ (installs what is missing)'
	@echo 'make demo       build, then watch processes count words together'
	@echo 'make test       build with two compilers and under sanitizers, and test everything'
	@echo 'make bench      measure beside raw sockets, bare shared memory and other libraries; ARGS=--json for figures to keep'
	@echo 'make fuzz       feed garbage to the codecs; SECONDS=10 each'
	@echo 'make evidence   the long forms of all of these'
	@echo 'make install    DESTDIR= PREFIX=/usr/local'
	@echo 'make clean      remove the build directories'
