# Tests and checks use one cargo profile (dev, optimised, see Cargo.toml), so that dependencies are built once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help demo demo-connect site build plugin test check docs simulate mutation fuzz exactly-once autobahn bench

help: ## Show this.
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ To try it

demo: ## See it work without Kafka: a feed, the worker and a small Kafka in one process.
	@bash scripts/needs.sh cargo gcc make
	@echo "Building the demo: one to two minutes the first time, a good part of it for librdkafka."
	cargo run --profile demo --no-default-features --locked -p connect-websocket -- demo $(OPTIONS)

demo-connect: ## See the plugin work: a feed, a real Kafka and a real Kafka Connect on this machine.
	@bash scripts/demo-connect.sh

site: ## Build the documentation as a site with search: target/site.
	@bash scripts/needs.sh python3
	@bash scripts/site.sh

##@ To run it

build: ## Build the worker as it ships: target/worker, with the licences of what is in it.
	@bash scripts/needs.sh cargo gcc make perl python3
	@bash scripts/worker.sh

plugin: ## Build the Kafka Connect plugin: target/plugin, for Linux on x86_64 and aarch64, glibc and musl.
	@bash scripts/needs.sh cargo gcc java mvn python3
	@bash scripts/plugin.sh

##@ To change it

test: ## Install what the tests need and run all of them, with a real Apache Kafka.
	@bash scripts/test.sh

check: ## Formatting, lints, documentation, licences and sources of dependencies.
	@bash scripts/needs.sh cargo gcc make perl
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	@bash scripts/deny.sh

docs: ## Write the generated parts of docs/ again: options, feeds, metrics, REST differences.
	@bash scripts/needs.sh cargo gcc make perl
	UPDATE=1 cargo test --workspace --locked --test docs

simulate: ## Test the engine in a simulation: SEEDS=… random histories on THREADS=… cores; SEED=… shows one of them.
	@bash scripts/needs.sh cargo gcc
	cargo test --release --locked -p connect-websocket-engine --lib -- --ignored --nocapture simulation::as_many

mutation: ## Put deliberate bugs into the engine, one at a time: the simulation has to find each of them.
	@bash scripts/needs.sh cargo gcc
	cargo test --locked -p connect-websocket-engine --lib -- --nocapture simulation::mutations

fuzz: ## Fuzz what reads bytes and texts from outside: each target for SECONDS=… (600).
	@bash scripts/needs.sh cargo gcc
	bash scripts/fuzz.sh $(or $(SECONDS),600)

exactly-once: ## Kill workers of Kafka Connect twenty times and look for a record that is missing or comes twice (after make plugin).
	@bash scripts/needs.sh cargo gcc make perl java mvn
	@bash e2e/kafka/fetch.sh
	EXACTLY_ONCE_KILLS=20 cargo test --workspace --locked --test exactly_once killed

autobahn: ## Run the Autobahn test suite against the WebSocket client (needs Python 2.7).
	@bash scripts/autobahn.sh

bench: ## Measure throughput, latency, processor time and memory, for about two hours; bench/README.md has the method.
	@bash bench/run.sh
