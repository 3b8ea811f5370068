# The only build. `make` builds build/pgweir; `make help` lists the rest.
CC ?= cc
BUILD ?= build
MAKEFLAGS += --no-print-directory
PREFIX ?= /usr
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=
FUZZ_TIME ?= 60
PKGS = libevent_openssl libevent libssl libcrypto libidn libpq inih
WARN = -Wall -Wextra -Wconversion -Wshadow -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
       -Wvla -Wundef -Wformat=2 -Wno-sign-conversion $(WERROR)
OPT ?= -O2 -g -fno-omit-frame-pointer
HARDEN ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SAN ?=
CPPFLAGS += -D_GNU_SOURCE -I. -Iproxy $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS = -std=c11 $(OPT) $(HARDEN) $(SAN) $(WARN) -pthread $(EXTRA_CFLAGS)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(SAN) -pthread
LDLIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

ROOMS = conf health pool proxy/wire proxy/io proxy/session proxy/console proxy/http proxy/top proxy
SRC = $(foreach d,$(ROOMS),$(sort $(wildcard $(d)/*.c)))
OBJ = $(SRC:%.c=$(BUILD)/%.o)
LIBOBJ = $(filter-out $(BUILD)/proxy/main.o,$(OBJ))

UNIT_SRC = $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN = $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ_SRC = $(sort $(wildcard tests/fuzz/fuzz_*.c))
REPLAY_BIN = $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)
FUZZ_BIN = $(FUZZ_SRC:%.c=$(BUILD)/%)

# Debian's Python, because the drivers are Debian packages.
PYTEST = /usr/bin/python3 -m pytest -p no:cacheprovider -q
PYTEST_ARGS ?=
TSAN_TESTS = test_move.py test_workers.py test_cancel.py test_pool_limits.py test_systemd.py test_throttle.py

# make V=1 shows the commands
Q = $(if $(V),,@)
say = @$(if $(V),:,printf '  %-9s%s\n' $(1) $(2))

all: $(BUILD)/pgweir

$(BUILD)/pgweir: $(OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# in the binary (page.c)
$(BUILD)/proxy/http/page.o: proxy/http/page.html

objects: $(OBJ)

-include $(OBJ:.o=.d) $(UNIT_SRC:%.c=$(BUILD)/%.d) $(FUZZ_SRC:%.c=$(BUILD)/%.d) \
	$(BUILD)/tests/lexer/facts.d $(BUILD)/tests/scram/tool.d \
	$(BUILD)/tests/hba/facts.d $(patsubst %.c,$(BUILD)/%.d,$(wildcard tests/sim/*.c))

# ---- what must be there -----------------------------------------------------

deps:
	@tests/deps.sh

# ---- unit tests -------------------------------------------------------------

.SECONDARY:
$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

unit-build: $(UNIT_BIN)

unit: unit-build
	@tests/unit/run.sh $(UNIT_BIN)

# ---- simulation -------------------------------------------------------------
# session/, pool/, wire/ and io/ as they are, over tests/sim/kernel.c in place of
# proxy/io/kernel.c (docs/testing.md).

SIM_ALL = $(sort $(wildcard tests/sim/*.c))
SIM_TEST_SRC = $(filter tests/sim/test_%,$(SIM_ALL))
SIM_SRC = $(filter-out tests/sim/test_% tests/sim/engine_main.c tests/sim/main.c,$(SIM_ALL))
SIM_OBJ = $(SIM_SRC:%.c=$(BUILD)/%.o)
SIM_PARTS = $(filter-out $(addprefix $(BUILD)/tests/sim/,world.o checks.o faults.o settings.o memory.o inspector.o \
	visitor.o node.o net.o kernel.o sim.o),$(SIM_OBJ))
SIM_HOUSE = $(filter-out $(patsubst %.c,$(BUILD)/%.o,$(wildcard proxy/*.c)) \
	$(addprefix $(BUILD)/proxy/io/,kernel.o listen.o sockfile.o uids.o), \
	$(filter-out $(addprefix $(BUILD)/health/,probe.o http.o resolve.o) $(BUILD)/proxy/http/% $(BUILD)/proxy/top/%,$(OBJ)))
SIM_LIB = $(filter-out $(patsubst %.c,$(BUILD)/%.o,$(wildcard proxy/*.c)) $(BUILD)/proxy/http/% $(BUILD)/proxy/top/%,$(LIBOBJ))
SIM_WRAP = $(patsubst %,-Wl$(,)--wrap=%,log_line client_next server_next malloc calloc realloc strdup strndup)
, := ,

$(BUILD)/tests/sim/%.o: CPPFLAGS += -Itests/sim

$(BUILD)/sim: $(BUILD)/tests/sim/main.o $(SIM_OBJ) $(SIM_HOUSE)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) $(SIM_WRAP) -o $@ $^ $(LDLIBS) -lm

$(BUILD)/sim-engine: $(BUILD)/tests/sim/engine_main.o $(SIM_PARTS) $(BUILD)/proxy/wire/wire.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lm

$(BUILD)/tests/sim/test_%: $(BUILD)/tests/sim/test_%.o $(SIM_PARTS) $(SIM_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka -lm

sim-build: $(BUILD)/sim $(BUILD)/sim-engine $(SIM_TEST_SRC:%.c=$(BUILD)/%)

SEED ?=
SIM_SECONDS ?= 60
SIM_SEEDS ?= 2000
SIM_NEW ?= 20
SIM_ARGS ?=
sim: $(BUILD)/sim
	@$(if $(SEED),$(BUILD)/sim --seed=$(SEED) --trace $(SIM_ARGS), \
		$(BUILD)/sim --seconds=$(SIM_SECONDS) --jobs=2 --cells $(SIM_ARGS))

# The same seeds each time, then new ones.
sim-check: sim-build
	@tests/unit/run.sh $(SIM_TEST_SRC:%.c=$(BUILD)/%)
	$(BUILD)/sim --from=1 --count=$(SIM_SEEDS) --jobs=2 --cells
	@$(BUILD)/sim --seconds=$(SIM_NEW) --jobs=2 --keep-on || { [ $$? = 1 ] && \
		echo 'sim: new seeds failed: findings, no regression; make sim SEED=N shows one'; }

# Bugs on purpose, each must be noticed (tests/sim/mutants.txt).
mutants: sim-build
	@CC='$(CC)' BUILD='$(BUILD)' MUTANT_CFLAGS='$(CPPFLAGS) -Itests/sim $(CFLAGS) $(foreach d,$(ROOMS),-I$(d))' \
		MUTANT_OBJ='$(BUILD)/tests/sim/main.o $(SIM_OBJ) $(SIM_HOUSE)' \
		MUTANT_LDFLAGS='$(LDFLAGS) $(SIM_WRAP)' MUTANT_LDLIBS='$(LDLIBS) -lm' \
		/usr/bin/python3 tests/sim/mutate.py $(MUTANTS)

# ---- histories --------------------------------------------------------------
# Clients append to lists on a real server, and the history of it is checked; pgweir with
# a bug on purpose (tests/history/mutants.txt) must be noticed.

HISTORY_DIR = $(BUILD)/history
HISTORY_STAMP = $(HISTORY_DIR)/built
$(HISTORY_STAMP): $(OBJ) tests/history/mutants.txt tests/sim/mutate.py
	@mkdir -p $(@D)
	@CC='$(CC)' BUILD='$(BUILD)' MUTANT_CFLAGS='$(CPPFLAGS) $(CFLAGS) $(foreach d,$(ROOMS),-I$(d))' \
		MUTANT_OBJ='$(OBJ)' MUTANT_LDFLAGS='$(LDFLAGS)' MUTANT_LDLIBS='$(LDLIBS)' \
		/usr/bin/python3 tests/sim/mutate.py --build=pgweir --list=tests/history/mutants.txt \
		--out=$(HISTORY_DIR)
	@touch $@

history-mutants: $(HISTORY_STAMP)

HISTORY_SECONDS ?= 60
HISTORY ?= --all --seconds $(HISTORY_SECONDS)
history:
	@tests/deps.sh
	@$(MAKE) all history-mutants
	@/usr/bin/python3 tests/history/run.py --binary $(BUILD)/pgweir --mutants $(HISTORY_DIR) $(HISTORY)

# Promela models (docs/models.md).
model:
	@tests/model/run.sh

# ---- SCRAM against real clients and servers ---------------------------------
# tests/integration/test_scram_plus.py and test_saslprep.py talk to it.

$(BUILD)/scram-tool: $(BUILD)/tests/scram/tool.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# ---- fuzzing ----------------------------------------------------------------
# The same targets twice: with a plain main() that replays the corpus in the
# tree (any compiler), and with libFuzzer's main (clang, in a build of its own).

$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay_main.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

replay-build: $(REPLAY_BIN)

fuzz-replay: replay-build
	@tests/fuzz/run.sh replay $(REPLAY_BIN)

fuzz-build: $(FUZZ_BIN)

fuzz:
	$(MAKE) BUILD=build-fuzz CC=clang HARDEN=-fPIE OPT="-O1 -g -fno-omit-frame-pointer" \
		SAN="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined" fuzz-build
	@FUZZ_TIME=$(FUZZ_TIME) tests/fuzz/run.sh fuzz $(FUZZ_SRC:%.c=build-fuzz/%)

# ---- the lexer against PostgreSQL's own parser -----------------------------

$(BUILD)/lexer-facts: $(BUILD)/tests/lexer/facts.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The same texts each time; or new ones for ORACLE_SECONDS.
ORACLE = /usr/bin/python3 -B tests/lexer/oracle.py --facts $(BUILD)/lexer-facts
ORACLE_SECONDS ?= 600
ORACLE_ARGS ?=
lexer-build: $(BUILD)/lexer-facts

lexer-check: lexer-build
	@$(ORACLE)

lexer-oracle:
	@tests/deps.sh
	@$(MAKE) lexer-build
	@$(ORACLE) --seconds $(ORACLE_SECONDS) $(ORACLE_ARGS)

# ---- rules of pg_hba.conf and pg_ident.conf against PostgreSQL ---------------
# Asked by tests/integration/test_hba_oracle.py.

$(BUILD)/hba-facts: $(BUILD)/tests/hba/facts.o $(LIBOBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# ---- lint -------------------------------------------------------------------
# A build of its own (build-lint), so that it sees every file with -Werror
# whatever build/ was made with.

LINT_SRC = $(SRC) $(UNIT_SRC) $(wildcard tests/fuzz/*.c) $(wildcard tests/lexer/*.c) \
	$(wildcard tests/scram/*.c) $(wildcard tests/hba/*.c) \
	$(wildcard tests/sim/*.c)

lint: lint-scripts lint-gcc lint-clang lint-cppcheck
	@echo "lint: all passed"

lint-scripts:
	tests/lint/selftest.sh
	tests/lint/layers.sh .
	tests/lint/functions.sh .
	tests/lint/words.sh .

lint-gcc:
	@$(MAKE) BUILD=build-lint CC=gcc SAN= WERROR=-Werror objects
	@tests/lint/globals.sh $(LIBOBJ:$(BUILD)/%=build-lint/%)

CLANG_OK = $(LINT_SRC:%.c=build-lint/%.clang)
build-lint/%.clang: %.c
	@mkdir -p $(@D)
	$(call say,CLANG,$<)
	$(Q)clang $(CPPFLAGS) -Itests/sim -std=c11 $(WARN) -Werror -pthread -fsyntax-only -MMD -MP -MF $@.d -MT $@ $<
	@touch $@
-include $(wildcard $(CLANG_OK:%=%.d))
lint-clang: $(CLANG_OK)

lint-cppcheck:
	@echo "  CPPCHECK"
	@cppcheck -q --std=c11 --language=c --enable=warning,portability,performance \
		--inline-suppr --suppressions-list=tests/lint/cppcheck.txt --error-exitcode=1 \
		-D_GNU_SOURCE -I. -Iproxy $(SRC)

# ---- integration ------------------------------------------------------------

integration: $(BUILD)/pgweir $(BUILD)/scram-tool $(BUILD)/hba-facts $(if $(PGWEIR_SAN),,history-mutants)
	PGWEIR=$(abspath $(BUILD)/pgweir) PGWEIR_MUTANTS=$(abspath $(HISTORY_DIR)) \
		PGWEIR_SCRAM=$(abspath $(BUILD)/scram-tool) $(PYTEST) $(PYTEST_ARGS) tests/integration

integration-workers: $(BUILD)/pgweir
	PGWEIR=$(abspath $(BUILD)/pgweir) $(PYTEST) $(PYTEST_ARGS) $(TSAN_TESTS:%=tests/integration/%)

# ---- the whole --------------------------------------------------------------

check:
	$(MAKE) deps
	$(MAKE) WERROR=-Werror all unit-build replay-build sim-build lexer-build
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) fuzz-replay
	$(MAKE) lexer-check
	$(MAKE) sim-check
	$(MAKE) integration

ASAN = BUILD=build-asan HARDEN=-fPIE OPT="-O1 -g -fno-omit-frame-pointer" \
       SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
asan:
	$(MAKE) $(ASAN) all unit-build replay-build sim-build
	$(MAKE) $(ASAN) unit fuzz-replay
	$(MAKE) $(ASAN) SIM_SEEDS=600 SIM_NEW=10 sim-check
	PGWEIR_SAN=asan $(MAKE) $(ASAN) integration

# setarch -R, where it is allowed: ThreadSanitizer of gcc 12 cannot map its
# shadow when the kernel randomises more than 28 bits.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)
TSAN = BUILD=build-tsan HARDEN=-fPIE OPT="-O1 -g -fno-omit-frame-pointer" SAN=-fsanitize=thread
tsan:
	$(MAKE) $(TSAN) all unit-build
	UNIT_TIMEOUT=400 $(NO_ASLR) $(MAKE) $(TSAN) unit
	PGWEIR_SAN=tsan $(NO_ASLR) $(MAKE) $(TSAN) integration-workers

# These begin on a machine that may have nothing: deps first, then the build.
demo:
	@tests/demo.sh

# Cost, memory and latency beside others: BENCH="core --rounds 5", by default all of it
# and docs/performance.md.
BENCH ?=
bench:
	@tests/deps.sh
	@$(MAKE) all
	@CC='$(CC)' BUILD='$(BUILD)' PGWEIR=$(abspath $(BUILD)/pgweir) PGWEIR_FLOOR=$(abspath $(BUILD)/floor) \
		tests/bench/run.sh $(or $(BENCH),--markdown)

# Instructions for a transaction, beside those of the last release: see instructions.py.
INSTRUCTIONS ?=
instructions:
	@tests/deps.sh
	@tests/deps.sh valgrind
	@$(MAKE) all
	@PGWEIR=$(abspath $(BUILD)/pgweir) /usr/bin/python3 tests/bench/instructions.py $(INSTRUCTIONS)

# The languages and their drivers are installed after the build.
DRIVERS ?=
drivers:
	@tests/deps.sh
	@$(MAKE) all
	@tests/drivers/deps.sh
	@PGWEIR=$(abspath $(BUILD)/pgweir) tests/drivers/run.py $(DRIVERS)

# Faults of real clusters under load: FAULTS="kill --seconds 3", all by default.
FAULTS ?=
faults:
	@tests/deps.sh
	@$(MAKE) all
	@tests/faults/deps.sh
	@PGWEIR=$(abspath $(BUILD)/pgweir) tests/faults/run.py $(or $(FAULTS),--markdown)

# Conflicting transactions, directly and through each `retry`: RETRYLAB="bank --seconds 2",
# all of them and the table of docs/retry.md by default.
RETRYLAB ?=
retry-lab:
	@tests/deps.sh
	@$(MAKE) all
	@PGWEIR=$(abspath $(BUILD)/pgweir) tests/retrylab/run.py $(or $(RETRYLAB),--markdown)

install: all
	install -D -m 755 $(BUILD)/pgweir $(DESTDIR)$(PREFIX)/bin/pgweir
	for u in $(wildcard systemd/*.service systemd/*.socket); do \
		install -d $(DESTDIR)$(UNITDIR) && \
		sed 's|/usr/bin/pgweir|$(PREFIX)/bin/pgweir|g' $$u \
			> $(DESTDIR)$(UNITDIR)/$${u##*/} && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$${u##*/} || exit 1; done
	install -D -m 644 systemd/pgweir.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/pgweir.conf
	$(BUILD)/pgweir --manual=1 > $(BUILD)/pgweir.1
	install -D -m 644 $(BUILD)/pgweir.1 $(DESTDIR)$(PREFIX)/share/man/man1/pgweir.1
	$(BUILD)/pgweir --manual=5 > $(BUILD)/pgweir.ini.5
	install -D -m 644 $(BUILD)/pgweir.ini.5 $(DESTDIR)$(PREFIX)/share/man/man5/pgweir.ini.5
	for c in bash:bash-completion/completions/pgweir zsh:zsh/vendor-completions/_pgweir \
		fish:fish/vendor_completions.d/pgweir.fish; do \
		$(BUILD)/pgweir --completion $${c%%:*} > $(BUILD)/completion && \
		install -D -m 644 $(BUILD)/completion $(DESTDIR)$(PREFIX)/share/$${c#*:} || exit 1; done

# build/deb/pgweir_VERSION_ARCH.deb, and lintian must find nothing.
deb:
	@tests/deps.sh dpkg-dev debhelper lintian
	@systemd/debian/build.sh . $(BUILD)/deb
	@lintian --allow-root --fail-on=error,warning,info $(BUILD)/deb/*.changes

clean:
	rm -rf build build-*

help:
	@echo 'make              build/pgweir'
	@echo 'make deps         install the Debian packages that are missing'
	@echo 'make check        everything: deps, -Werror build, lint, unit, fuzz corpus, simulation, integration'
	@echo 'make unit         unit tests (cmocka)'
	@echo 'make lint         layers, globals, function length, words, gcc and clang -Werror, cppcheck'
	@echo 'make integration  tests against real PostgreSQL (pytest); PYTEST_ARGS="-k cancel -x"'
	@echo 'make sim          the simulated world for SIM_SECONDS=60; SEED=n replays one run with its trace'
	@echo 'make sim-check    2,000 fixed seeds and 20 s of new ones; make mutants: bugs on purpose'
	@echo 'make history      list-append histories checked, with controls that must fail; HISTORY="--way replay"'
	@echo 'make model        Promela models with spin'
	@echo 'make fuzz-replay  the fuzz corpus, once'
	@echo 'make lexer-check  the lexer against PostgreSQL'"'"'s parser: the same texts each time'
	@echo 'make lexer-oracle the same with new texts, ORACLE_SECONDS=600'
	@echo 'make fuzz         libFuzzer, FUZZ_TIME=60 seconds for each target'
	@echo 'make asan         unit, corpus and integration tests under ASan and UBSan'
	@echo 'make tsan         unit and worker tests under TSan'
	@echo 'make demo         a three-node cluster, a killed primary, a table; DEMO_KEEP=1 keeps it'
	@echo 'make instructions instructions for a transaction, beside the last release'
	@echo 'make bench        cost, memory and latency beside other proxies'
	@echo 'make drivers      real drivers of ten languages, directly and through pgweir; DRIVERS="pgx psql"'
	@echo 'make faults       nodes die, hang, restart, lose their network; the table of docs/failover.md; FAULTS="kill"'
	@echo 'make retry-lab    transactions that conflict, with each retry; the table of docs/retry.md; RETRYLAB="bank"'
	@echo 'make install      DESTDIR= PREFIX=/usr'
	@echo 'make deb          a Debian package in build/deb, checked with lintian'
	@echo 'make clean'

.PHONY: all objects deps unit unit-build sim sim-build sim-check mutants history history-mutants \
	model fuzz fuzz-build fuzz-replay replay-build lexer-build lexer-check lexer-oracle lint \
	lint-scripts lint-gcc lint-clang lint-cppcheck integration \
	integration-workers check asan tsan demo bench instructions drivers faults retry-lab install deb clean help
