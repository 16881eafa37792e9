# Short names for the common jobs; the build itself is meson's.
# SPDX-License-Identifier: Apache-2.0

# the first meson that runs: one early in PATH may be a stub without its Python package
MESON = $(shell for m in meson /usr/bin/meson; do \
	if $$m --version >/dev/null 2>&1; then echo $$m; break; fi; done)
NINJA_BIN = $(shell for n in ninja /usr/bin/ninja; do \
	if $$n --version >/dev/null 2>&1; then command -v $$n; break; fi; done)
RUN_MESON = NINJA=$(NINJA_BIN) $(or $(MESON),$(error no meson that runs: see tools/install-deps))
BUILD = build
FUZZ_SECONDS = 60
PREFIX = /usr/local
C_FILES = $(shell find include src tests bench examples -name '*.c' -o -name '*.h')
CLANG_FORMAT = $(shell for f in clang-format-14 /usr/bin/clang-format clang-format; do \
	if $$f --version >/dev/null 2>&1; then echo $$f; break; fi; done)

.PHONY: help deps deps-dev build demo test bench docs lint format install asan fuzz clean

help:
	@echo 'make demo     install what is missing, build, and draw the U-curve of the bundled model'
	@echo 'make test     install what is missing, build, run every test'
	@echo 'make bench    build and run the benchmarks'
	@echo 'make docs     build and write the pages of docs/presses'
	@echo 'make lint     house rules, format check, gcc and clang builds with -Werror'
	@echo 'make format   rewrite the C files with clang-format'
	@echo 'make install  install to PREFIX ($(PREFIX))'
	@echo 'make asan     the tests under address and undefined-behaviour sanitizers'
	@echo 'make fuzz     fuzz each parser for FUZZ_SECONDS ($(FUZZ_SECONDS)) seconds'
	@echo 'make clean    remove build folders'

deps:
	@tools/install-deps

deps-dev:
	@tools/install-deps --dev

build: deps
	@test -f $(BUILD)/build.ninja || $(RUN_MESON) setup $(BUILD) --prefix $(PREFIX)
	@$(RUN_MESON) compile -C $(BUILD)

demo: build
	@$(BUILD)/kvlab sweep --preset ucurve

test: build
	@NINJA=$(NINJA_BIN) tools/run-tests $(BUILD) $(MESON)

bench: build
	@$(RUN_MESON) test -C $(BUILD) --benchmark --verbose

docs: build
	@tools/make-press-docs $(BUILD)/kvlab

lint: deps-dev
	@tools/lint --self-test
	@tools/lint
	@tools/make-claims --self-test
	@tools/make-claims --check
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
	@test -f build-gcc/build.ninja || CC=gcc $(RUN_MESON) setup build-gcc -Dwerror=true
	@$(RUN_MESON) compile -C build-gcc
	@test -f build-clang/build.ninja || CC=clang $(RUN_MESON) setup build-clang -Dwerror=true
	@$(RUN_MESON) compile -C build-clang

format:
	@$(CLANG_FORMAT) -i $(C_FILES)

install: build
	@$(RUN_MESON) install -C $(BUILD)

# without tests/real: whole texts through checked kernels take longer than all others together
asan: deps
	@test -f build-asan/build.ninja || $(RUN_MESON) setup build-asan -Dbuildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false
	@$(RUN_MESON) compile -C build-asan
	@NINJA=$(NINJA_BIN) ASAN_OPTIONS=detect_leaks=1 \
		LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 \
		UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		tools/run-tests build-asan $(MESON) --suite unit

# each target starts from a copy of its corpus, so that the tree stays as it is
fuzz: deps-dev
	@test -f build-fuzz/build.ninja || CC=clang $(RUN_MESON) setup build-fuzz -Dfuzz=true \
		-Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args=-fsanitize=fuzzer-no-link
	@$(RUN_MESON) compile -C build-fuzz
	@found=0; for t in $(sort $(basename $(notdir $(wildcard tests/fuzz/fuzz_*.c)))); do \
		found=1; n=$${t#fuzz_}; c=build-fuzz/corpus/$$n; rm -rf $$c; mkdir -p $$c build-fuzz/crash; \
		if [ -d tests/fuzz/corpus/$$n ]; then cp -R tests/fuzz/corpus/$$n/. $$c/; fi; \
		echo "fuzz: $$n, $(FUZZ_SECONDS) s"; \
		build-fuzz/tests/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=build-fuzz/crash/$$n- $$c || exit 1; \
	done; test $$found = 1 || { echo 'fuzz: no target found' >&2; exit 1; }

clean:
	rm -rf $(BUILD) build-gcc build-clang build-asan build-fuzz
