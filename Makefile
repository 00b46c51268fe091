# SPDX-License-Identifier: MIT
# Chasqui - sticky robot sessions.
#
#   make all           build everything under build/
#   make run           bring the whole system up here (private MariaDB, demo robots), Ctrl-C ends it
#   make test          install what is missing, build, run every test
#   make run ROBOT=chromium   the same with robots that drive Chromium
#   make check-unit    unit tests (cmocka)            make check-system  system tests (pytest)
#   make check-browser the dashboard in Chromium, pictures of it in build/pictures
#   make check-robot   a robot that drives Chromium, on a portal; not part of make test
#   make asan          unit and system tests under ASan + UBSan
#   make fuzz          the fuzzers, longer            make bench         Chasqui beside its peers, under load
#   make chaos         10,000 log-ins while every process is killed at random, 20 times, with ten seeds
#   make soak          everything mixed for an hour: what dies, grows, is lost or comes late (SOAK_MINUTES=N)
#   make lint          tables, headers, form, cppcheck; part of make test      make format   clang-format
#   make release-check what has to hold before a version is tagged
#   make install       into DESTDIR/PREFIX            make clean
#   make hosts         over a real Galera cluster      make deps          install the Debian packages that are missing
#   make deb           Debian packages into build/deb, make check-deb looks into them
#   make docs          the tables and the picture of states in docs/, after a change of db/state.def
#   make check-typescript  types made of docs/openapi.json compile (fetches from npm)
#
# Every program's parts are listed here: what a process may link is what it may do. The broker has neither the
# database client nor curl.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# --- packages: the one place -----------------------------------------------------------------------------------
PACKAGES_BUILD := gcc make libc6-dev libzmq3-dev libczmq-dev libcurl4-openssl-dev libmariadb-dev \
  libmsgpack-dev libmicrohttpd-dev libjansson-dev libsodium-dev libssl-dev libsystemd-dev
PACKAGES_RUN := mariadb-server-core mariadb-client-core python3 python3-aiohttp python3-pymysql
PACKAGES_TEST := libcmocka-dev python3-pytest python3-pytest-xdist python3-pytest-timeout iproute2 python3-zmq python3-msgpack curl openssl prometheus \
  groff-base chromium chromium-driver python3-selenium nginx-light haproxy libfaketime galera-4 python3-jsonschema \
  php-cli php-laravel-framework php-guzzlehttp-guzzle php-mysql php-curl php-mbstring php-xml phpunit
PACKAGES_NPM := $(if $(shell command -v npm),,nodejs npm)
PACKAGES_CHROMIUM := chromium $(PACKAGES_NPM)
PACKAGES_LINT := cppcheck clang-format
PACKAGES_DOCS := graphviz
PACKAGES_BENCH := wrk nginx-light libnginx-mod-http-lua lua-sql-mysql haproxy php-fpm php-curl php-mysql beanstalkd redis-server python3-matplotlib linux-perf strace curl \
  $(PACKAGES_NPM)

# --- flags -----------------------------------------------------------------------------------------------------
BUILD ?= build
CC ?= gcc
OPT ?= -O2 -g
SANITIZE ?=
WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wswitch-enum -Wpointer-arith \
  -Wformat=2 -Wundef -Werror
HARDEN := -fstack-protector-strong -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
VERSION := 0.2.0
CFLAGS_ALL := -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(SANITIZE) -I. -D_GNU_SOURCE -DCHASQUI_VERSION='"$(VERSION)"' \
  -MMD -MP $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANITIZE) $(LDFLAGS)

LIBS_BUS := -lczmq -lzmq
LIBS_BASE := $(LIBS_BUS) -lmsgpackc -ljansson -lsodium -lsystemd -lpthread
LIBS_broker := $(LIBS_BASE) -lmicrohttpd
LIBS_dispatcher := $(LIBS_BASE) -lcurl -lssl -lmariadb
LIBS_healthd := $(LIBS_BASE) -lcurl
LIBS_ctl := $(LIBS_BASE) -lcurl -lmariadb

# --- parts -----------------------------------------------------------------------------------------------------
SRC_common := $(wildcard common/*.c)
SRC_proto := $(wildcard proto/*.c)
SRC_broker := $(wildcard broker/*.c)
SRC_db := $(wildcard db/*.c)
SRC_dispatcher := $(wildcard dispatcher/*.c dispatcher/*/*.c) $(SRC_db) common/curl/robot_easy.c
# healthd shares with the dispatcher how a robot is called.
SRC_healthd := $(wildcard healthd/*.c) common/curl/robot_easy.c
# db/ is what the dispatcher and chasqui share: the SQL layer, the credentials' seal, what an item and a robot's row are, and so on.
SRC_ctl := $(wildcard ctl/*.c) $(SRC_db)
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

PROGRAMS := $(BUILD)/chasqui-broker $(BUILD)/chasqui-dispatcher $(BUILD)/chasqui-healthd $(BUILD)/chasqui
# What mkdoc makes of the programs' tables: manual pages, a sample configuration, completion for bash.
MAN := chasqui.1 chasqui.conf.5 chasqui-api.7 chasqui-metrics.7 chasqui-broker.8 chasqui-dispatcher.8 chasqui-healthd.8
MADE := $(patsubst %,$(BUILD)/made/%,$(MAN) chasqui.conf completion openapi.json)
.PHONY: all
all: $(PROGRAMS) $(MADE)
$(BUILD)/chasqui-broker: $(call obj,$(SRC_broker) $(SRC_proto) $(SRC_common))
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBS_broker)
$(BUILD)/chasqui-dispatcher: $(call obj,$(SRC_dispatcher) $(SRC_proto) $(SRC_common))
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBS_dispatcher)
$(BUILD)/chasqui-healthd: $(call obj,$(SRC_healthd) $(SRC_proto) $(SRC_common))
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBS_healthd)
$(BUILD)/chasqui: $(call obj,$(SRC_ctl) $(SRC_common))
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIBS_ctl)

$(BUILD)/mkdoc: $(BUILD)/packaging/mkdoc.o $(BUILD)/parts/broker.a
	@echo LD $@
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_broker)
$(BUILD)/made/%: $(BUILD)/mkdoc
	@mkdir -p $(@D)
	@$(BUILD)/mkdoc $* > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo CC $<
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<
# The migrations are part of chasqui (.incbin).
$(BUILD)/ctl/migration.o: $(wildcard migrations/*.sql)
# So is the dashboard of the broker.
$(BUILD)/broker/dashboard.o: $(wildcard broker/dashboard/*)
# Rebuild when the flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@printf '%s\n' '$(CC) $(subst ','\'',$(CFLAGS_ALL)) $(LDFLAGS_ALL)' | cmp -s - $@ || \
	  printf '%s\n' '$(CC) $(subst ','\'',$(CFLAGS_ALL)) $(LDFLAGS_ALL)' > $@
.PHONY: FORCE
FORCE:
-include $(shell find $(BUILD) -path $(BUILD)/deb -prune -o -type f -name '*.d' -print 2>/dev/null)

# --- packages and a whole system ---------------------------------------------------------------------------------
.PHONY: deps run
deps:
	@tests/run/deps $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_TEST) $(PACKAGES_LINT)
# ROBOT=chromium brings up robots that drive Chromium, and a portal for them, instead of the demo robots.
run:
	@tests/run/deps $(PACKAGES_BUILD) $(PACKAGES_RUN) curl $(if $(filter chromium,$(ROBOT)),$(PACKAGES_CHROMIUM))
	@$(if $(filter chromium,$(ROBOT)),$(MAKE) --no-print-directory examples)
	@$(MAKE) --no-print-directory all
	@CHASQUI_BUILD='$(abspath $(BUILD))' exec /usr/bin/python3 tests/run/up.py

.PHONY: examples
examples: $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(wildcard examples/*/package-lock.json))
examples/%/node_modules/.package-lock.json: examples/%/package-lock.json
	@echo NPM examples/$*
	@cd examples/$* && npm ci --no-audit --no-fund --silent && touch node_modules/.package-lock.json

# --- tests -----------------------------------------------------------------------------------------------------
# tests/unit/NAME.c is a cmocka program; its first line names the program whose parts it needs: /* parts: dispatcher */. Only
# those that it uses are linked.
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))
HOSTS := $(patsubst tests/hosts/%.c,$(BUILD)/tests/hosts/%,$(wildcard tests/hosts/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/*.c))
parts = $(shell sed -n '1s|^/\* parts: *\([a-z]*\) \*/.*|\1|p' $(1))
$(foreach p,common broker dispatcher healthd ctl,$(eval $(BUILD)/parts/$(p).a: \
  $(filter-out %/main.o,$(call obj,$(sort $(SRC_$(p)) $(SRC_common) $(SRC_proto))))))
$(BUILD)/parts/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^
define test_program
$(BUILD)/$(1): $(BUILD)/$(1).o $(BUILD)/parts/$$(call parts,$(1).c).a
	@echo LD $$@
	@$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -lcmocka $$(LIBS_BASE) -lmicrohttpd -lcurl -lssl -lmariadb
endef
$(foreach t,$(patsubst $(BUILD)/%,%,$(UNIT) $(HOSTS) $(FUZZ)),$(eval $(call test_program,$(t))))

SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_RUNS ?= 50000
PYTEST ?= /usr/bin/python3 -m pytest -q
# System and browser tests run beside each other: they wait more than they compute. TEST_JOBS=0 runs them one after another.
TEST_JOBS ?= $(shell expr $$(nproc) + 3)
BESIDE = -n $(TEST_JOBS) --dist loadgroup
TESTS ?= # of check-system, check-browser, check-pytest: all

# Under another parallel make its jobs are shared.
PARALLEL = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: test unit-tests check-unit check-policy check-fuzz check-pytest check-system check-browser check-robot chaos hosts soak asan tsan fuzz lint format install clean help
test: deps
	+$(PARALLEL) all unit-tests
	+$(PARALLEL) --output-sync=target check-fuzz check-unit check-policy lint
	$(MAKE) check-pytest

unit-tests: $(UNIT) $(HOSTS)
check-unit: unit-tests
	@tests/run-each $(UNIT)

# What a process may reach is its link line: the broker has neither the database client nor curl, healthd no database.
check-policy: all
	@tests/check-policy $(BUILD)
	@tests/check-floors $(BUILD)
	@tests/check-states

# Every parser, seeded, under ASan and UBSan.
check-fuzz:
	+@$(PARALLEL) BUILD=build-asan SANITIZE='$(SANITIZERS)' fuzz-run
.PHONY: fuzz-run $(FUZZ:=.run)
fuzz-run: $(FUZZ:=.run)
$(FUZZ:=.run): %.run: %
	@$< $(FUZZ_RUNS)
fuzz:
	@$(MAKE) --no-print-directory check-fuzz FUZZ_RUNS=2000000
	CHASQUI_FUZZ_SECONDS=600 CHASQUI_FUZZ_SEED=$$RANDOM CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) tests/system/test_texts.py -k hostile

# Real processes, and the dashboard in Debian's Chromium as people use it; see tests/conftest.py.
check-pytest: all $(HOSTS)
	CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) $(BESIDE) tests/system tests/browser $(TESTS)
check-system: all $(HOSTS)
	CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) $(BESIDE) tests/system $(TESTS)
check-browser: all
	CHASQUI_PATIENCE=1 CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) tests/browser $(TESTS)

# Real Chromium on a real web portal, examples/; measures what a session costs into build/robot-figures.txt.
check-robot:
	@tests/run/deps $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_TEST) $(PACKAGES_CHROMIUM)
	@$(MAKE) --no-print-directory examples
	@$(MAKE) --no-print-directory all
	CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) -s --timeout 900 tests/chromium $(TESTS)

# At full size what make test runs small, a line for each seed; CHAOS_SEEDS="N ..." repeats them.
CHAOS_SEEDS ?= 11 12 13 14 15 16 17 18 19 20
chaos: deps
	$(MAKE) all
	@CHASQUI_BUILD=$(abspath $(BUILD)) tests/run/chaos $(CHAOS_SEEDS)
# A real Galera cluster: 1,000 tries over three nodes, then three hosts that are cut, killed and stopped, a row a fault; HOSTS_SEEDS="N ..." repeats those.
HOSTS_SEEDS ?= 1 2 3 4 5 6 7 8 9 10
hosts: deps
	$(MAKE) all unit-tests
	HOSTS_TRIES=1000 CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) -s --timeout 1800 tests/system/test_galera.py $(TESTS)
	@CHASQUI_BUILD=$(abspath $(BUILD)) tests/run/hosts $(HOSTS_SEEDS)

# Everything mixed for an hour, measured; SOAK_MINUTES=N, SOAK_SEED=N. See build/soak.txt.
SOAK_MINUTES ?= 60
soak: deps
	$(MAKE) all
	SOAK_MINUTES=$(SOAK_MINUTES) CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) -s -o faulthandler_timeout=0 tests/system/test_soak.py

asan: deps
	+$(PARALLEL) BUILD=build-asan SANITIZE='$(SANITIZERS)' OPT='-O1 -g -fno-omit-frame-pointer' all unit-tests
	$(MAKE) BUILD=build-asan SANITIZE='$(SANITIZERS)' OPT='-O1 -g -fno-omit-frame-pointer' check-unit check-system
tsan: deps
	TSAN_OPTIONS=suppressions=tests/tsan.supp $(MAKE) BUILD=build-tsan SANITIZE='-fsanitize=thread' OPT='-O1 -g' check-unit

# Against other systems, about 15 minutes; BENCH='--only list' (or --short, …) is passed on. See docs/benchmarks.md.
.PHONY: deps-bench bench
deps-bench:
	@tests/run/deps $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_BENCH)
bench: deps-bench
	@$(MAKE) --no-print-directory all
	@CHASQUI_BUILD='$(abspath $(BUILD))' tests/bench/bench.py $(BENCH)

.PHONY: lint-tables
lint-tables:
	@tests/lint tables
lint: lint-tables
	@tests/lint code
# What has to hold before a version is tagged; see CONTRIBUTING.md.
.PHONY: release-check
release-check: all
	@CHASQUI_BUILD='$(BUILD)' tests/run/release-check $(VERSION)
format:
	clang-format -i $(shell git ls-files "*.c" "*.h")

# The tables of states in ARCHITECTURE.md and their picture, made of db/state.def.
.PHONY: docs
docs:
	@tests/run/deps $(PACKAGES_DOCS)
	@tests/run/states.py | dot -Tsvg > docs/states.svg

PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/chasqui/migrations
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 migrations/*.sql $(DESTDIR)$(PREFIX)/share/chasqui/migrations
	for page in $(MAN); do install -D -m 644 $(BUILD)/made/$$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page; done
	install -D -m 644 $(BUILD)/made/completion $(DESTDIR)$(PREFIX)/share/bash-completion/completions/chasqui
	install -m 644 $(BUILD)/made/chasqui.conf $(BUILD)/made/openapi.json packaging/prometheus/*.yml packaging/grafana/*.json $(DESTDIR)$(PREFIX)/share/chasqui
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d
	for unit in packaging/systemd/*.service; do sed 's|@BIN@|$(PREFIX)/bin|' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; done
	install -m 644 packaging/systemd/chasqui.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/chasqui.conf

# Debian packages into build/deb, built with their own flags in a tree of their own, whose objects stay for the next time. check-deb looks into
# them, with lintian. `make deb VERSION=N` calls them otherwise, as a version to upgrade from.
PACKAGES_DEB := debhelper fakeroot dpkg-dev lintian mmdebstrap
DEB_TREE := $(BUILD)/deb/tree
.PHONY: deb check-deb
deb:
	@tests/run/deps $(PACKAGES_BUILD) $(PACKAGES_DEB)
	@mkdir -p $(DEB_TREE)
	@find $(DEB_TREE) -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	@rm -f $(BUILD)/deb/chasqui*
	@tar -c --exclude='./build*' --exclude='./.[!.]*' --exclude=./var --exclude=node_modules --exclude=vendor . | tar -x -C $(DEB_TREE)
	@cp -r packaging/debian $(DEB_TREE)/debian
	@printf 'chasqui (%s) unstable; urgency=medium\n\n  * What is new stands in CHANGELOG.md, package chasqui-doc.\n\n -- Chasqui contributors <chasqui@example.org>  %s\n' \
	  $(VERSION) "$$(LC_ALL=C date -uR -r CHANGELOG.md)" > $(DEB_TREE)/debian/changelog
	@cd $(DEB_TREE) && dpkg-buildpackage -b -uc -us > ../build.log 2>&1 || { tail -20 ../build.log; exit 1; }
	@ls $(BUILD)/deb/*_$(VERSION)_*.deb
check-deb: deb
	CHASQUI_BUILD=$(abspath $(BUILD)) $(PYTEST) tests/packages

# The types that docs/openapi.json makes compile in a client of TypeScript. npm fetches what makes them.
.PHONY: check-typescript
check-typescript:
	@tests/run/deps $(PACKAGES_NPM)
	@cd tests/typescript && npm ci --no-audit --no-fund --silent && npx --no-install openapi-typescript ../../docs/openapi.json -o schema.d.ts && \
	  npx --no-install tsc -p . && echo "check-typescript: the types of docs/openapi.json compile"

clean:
	rm -rf build build-asan build-tsan
help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile
