# Without a version a target takes the newest stable one. PG=16 names one version, PG="15 18" several, PG=all all.

of-versions = $(shell . pgrx-config/versions.env && echo $$$(1))
NAMED := $(if $(filter all,$(PG)),$(call of-versions,PG_VERSIONS),$(or $(PG),$(call of-versions,PG_NEWEST)))
# Installers such as pgxn name one server by its pg_config: it gets an optimized build.
ifeq ($(origin PG_CONFIG),command line)
NAMED := $(shell $(PG_CONFIG) --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
export PG_CONFIG_$(NAMED) := $(PG_CONFIG)
OPTIMIZED := --release
endif
for-each = @for version in $(NAMED); do $(1) || exit 1; done

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo '  With PG=16, PG="15 18" or PG=all the versions of PostgreSQL that are meant, by default the newest stable one.'

.PHONY: all
all: # what installers say before install; cargo builds then
	@:

.PHONY: demo
demo: ## the main job: eight clients at once, the naive way beside pg_once
	@pgrx-config/demo.sh $(if $(PG),$(lastword $(NAMED)))

.PHONY: stop
stop: ## stops the server of the demo
	@pgrx-config/cluster.sh stop demo && echo "the demo's server is stopped"

.PHONY: test
test: ## every suite; with PG=all on PostgreSQL 15 to 19, which docs/versions.md divides them among
	@pgrx-config/test.sh $(NAMED)

.PHONY: install
install: ## builds the extension and installs it in the PostgreSQL under target, or with PG_CONFIG=... in that one
	$(call for-each,pgrx-config/install.sh $$version $(OPTIMIZED))

.PHONY: pgrx-test
pgrx-test: ## the tests beside the code (cargo pgrx test)
	$(call for-each,pgrx-config/suites/pgrx.sh $$version)

.PHONY: declarations
declarations: ## what the code declares by hand of PostgreSQL's C interface, beside its headers (tests/declarations)
	$(call for-each,pgrx-config/suites/declarations.sh $$version)

.PHONY: model
model: ## every order of events in the models of claims, turns and work (tests/model)
	@pgrx-config/suites/model.sh

.PHONY: regress
regress: install ## what SQL answers (tests/pg_regress)
	$(call for-each,pgrx-config/suites/regress.sh $$version)

.PHONY: isolation
isolation: install ## interleaved sessions, step by step (tests/isolation)
	$(call for-each,pgrx-config/suites/isolation.sh $$version)

.PHONY: sessions
sessions: install ## real concurrent sessions (tests/sessions)
	$(call for-each,pgrx-config/suites/sessions.sh $$version)

.PHONY: schedules
schedules: install ## what sessions do in every order or a random one, compared with a model (tests/schedules)
	$(call for-each,pgrx-config/suites/schedules.sh $$version)

.PHONY: attacks
attacks: install ## attacks by roles of every kind, and hostile calls of every function (tests/attacks)
	$(call for-each,pgrx-config/suites/attacks.sh $$version)

.PHONY: mutants
mutants: ## breaks the code in known ways, one at a time: the tests must notice (tests/mutants)
	$(call for-each,pgrx-config/mutants.sh $$version $(NAMES))

.PHONY: history
history: install ## what many clients are told while the server is killed, full, cut off; recorded and checked (tests/history)
	$(call for-each,pgrx-config/suites/history.sh $$version)

.PHONY: soak
soak: install ## the same for an hour, with 100 kills of the postmaster; SOAK=minutes changes it
	@pgrx-config/soak.sh $(or $(SOAK),60) $(lastword $(NAMED))

.PHONY: proof
proof: ## two checkers of recorded histories, planted defects, every order through injection points; on 17, 10 minutes at most
	@pgrx-config/suites/proof.sh $(or $(PG),17)

.PHONY: cron
cron: install ## sweeps by pg_cron; for the version that this machine's Debian has packages of
	$(call for-each,pgrx-config/suites/cron.sh $$version)

.PHONY: drivers
drivers: install ## the default binding of client drivers (tests/drivers)
	$(call for-each,pgrx-config/suites/drivers.sh $$version)

.PHONY: conformance
conformance: install ## the same scenarios through every client, directly and through pgbouncer (tests/conformance)
	$(call for-each,pgrx-config/suites/conformance.sh $$version)

.PHONY: examples
examples: install ## the examples, each with many processes at once (examples)
	$(call for-each,pgrx-config/suites/examples.sh $$version)

.PHONY: pgspot
pgspot: install ## what a hostile schema could make of the install script (pgspot)
	$(call for-each,pgrx-config/suites/pgspot.sh $$version)

.PHONY: package
package: ## Debian packages and the archive for PGXN, in target/package
	@pgrx-config/package.sh $(NAMED)

.PHONY: archive
archive: ## looks at that archive with PGXN's own validator
	@pgrx-config/suites/archive.sh

.PHONY: try-package
try-package: ## makes the Debian package, unpacks it into a clean server and tries it
	$(call for-each,pgrx-config/suites/package.sh $$version --release)

.PHONY: lint
lint: ## the layout of the code, clippy, and shellcheck for the scripts
	@pgrx-config/suites/format.sh
	$(call for-each,pgrx-config/suites/clippy.sh $$version)
	@pgrx-config/suites/scripts.sh

.PHONY: bench
bench: ## compares it with what one would pick instead, 45 minutes; writes docs/benchmarks
	@pgrx-config/bench.sh $(or $(PART),all) $(lastword $(NAMED))

.PHONY: bench-gates
bench-gates: ## the part of it that repeats on any machine: instructions, bytes, WAL
	$(call for-each,pgrx-config/bench.sh gates $$version)

.PHONY: clean
clean: ## stops every private server and removes target
	@pgrx-config/clean.sh
