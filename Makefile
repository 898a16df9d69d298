# Thin over cargo. Each target sets up what it needs by itself (see scripts/setup.sh) and is quick when nothing is
# missing. Every build names the whole workspace: with one set of features for everything, no dependency is built twice.

.PHONY: demo test clients conformance polyglot dashboard torture lint bench fuzz setup

# Build host and plugins, and run a real workflow on a real component with real gates to its end.
demo: setup
	@cargo build --quiet --workspace --bin caelum-workflow
	@target/debug/caelum-workflow demo

# Everything that is tested, native and through MCP.
test: setup
	cargo test --workspace --quiet

# Real MCP clients from the registries on every transport and in both eras: the table of docs/clients.md.
clients: setup
	@cargo build --quiet --workspace --bin caelum-workflow
	@tests/clients/run.sh target/debug/caelum-workflow

# The official conformance suite against the real server, both revisions of the protocol and the tasks extension.
conformance: setup
	@cargo build --quiet --workspace --features caelum-workflow/conformance --bin caelum-workflow-conformance
	@tests/conformance/run.sh target/debug/caelum-workflow-conformance

# The same plugins in Rust, Python and JavaScript, built by the toolchains from PyPI and npm, held to the same answers.
polyglot: setup
	@tests/polyglot/build.sh
	CAELUM_POLYGLOT=$(CURDIR)/target/polyglot cargo test --quiet --workspace --test kit
	CAELUM_POLYGLOT=$(CURDIR)/target/polyglot cargo test --quiet --workspace --test journeys polyglot

# Builds the dashboard's page and the view for other programs' windows anew and uses both in a real browser.
# `PICTURES=docs/pictures` makes the pictures of the docs.
dashboard: setup
	@npm ci --prefix host/server/dashboard --no-audit --no-fund --loglevel error >/dev/null
	@npm run build --prefix host/server/dashboard --loglevel error >/dev/null
	@cargo build --quiet --workspace --bin caelum-workflow
	@tests/dashboard/run.sh target/debug/caelum-workflow
	@tests/apps/run.sh target/debug/caelum-workflow

# The real server, killed and frozen at random moments for a while, against a witness outside of it. `make torture
# SECONDS=600` takes longer; `SEED=…` takes the moments of an earlier run.
SECONDS = 60
torture: setup
	@cargo build --quiet --workspace --bin caelum-workflow --bin caelum-torture
	@target/debug/caelum-torture run --server target/debug/caelum-workflow --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# Formatting, lints, documentation, layers, licences.
lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --quiet
	scripts/deny.sh

# Benches with their peers in the same run; results in target/bench/report.json and docs/benchmarks.md.
bench: setup
	bench/plugins.py
	bench/transports.py
	cargo bench --workspace --bench commit
	bench/run.py
	bench/start.py
	bench/render.py

# Fuzz what reads plugins and plans, each target for SECONDS; see fuzz/README.md.
fuzz: setup
	@fuzz/run.sh $(SECONDS)

setup:
	@scripts/setup.sh
