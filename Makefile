# Tidegate's commands. `make help` lists them; CONTRIBUTING.md says more.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The error of a failed test says what happened; the frames of the runtime under it do not.
export RUST_LIB_BACKTRACE := 0
.PHONY: help demo cluster docs docs-site test test-lint test-unit test-oracle test-page test-memory test-trust test-e2e test-msrv fuzz bench bench-step bench-zero bench-bursts bench-cycles bench-opening tour bench-llm bench-kafka build

BIN := $(shell cargo metadata --format-version 1 --no-deps 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug
# Where the results of the stages of `make test` are counted.
LOG := $(BIN)/../test-log
SCRIPTS := .ci/run charts/test.sh sim/tests/oracle/run.sh tests/cluster.sh
# The oldest Rust that works: the only place for it, and README.md and CONTRIBUTING.md are held against it.
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# Seconds of each fuzz target.
FUZZ_SECONDS := 60
# All end-to-end tests are started at once: tests/e2e/src/turns.rs says which of them run, and in what order.
E2E_THREADS := 1000

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: build ## The main job on this machine: a real Envoy, a changing load, replicas that follow; built in 9 min the first time
	$(BIN)/stack build envoy
	$(BIN)/tidegate demo --envoy "$$($(BIN)/stack path envoy)"

cluster: build ## The same on the whole real stack: Kubernetes, KEDA, Envoy Gateway; stays until Ctrl-C
	$(BIN)/stack run -- tests/cluster.sh

test: ## Everything: format, lints, unit, contract and end-to-end tests
	@rm -f $(LOG)
	@$(MAKE) --no-print-directory test-lint
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-page
	@$(MAKE) --no-print-directory test-oracle
	@$(MAKE) --no-print-directory test-e2e
	@awk '/^test result:/ { passed += $$4; failed += $$6 } END { printf "\n%d passed, %d failed\n", passed, failed; exit !passed || failed }' $(LOG)

test-lint: ## Format, lints, no circles between files, links between pages and in docs, licences and bans of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo clippy --workspace --no-default-features --all-targets --quiet -- -D warnings
	@# `--all-targets` leaves out those that need the peers.
	cargo clippy --workspace --test '*' --bench '*' --quiet -- -D warnings
	cargo xtask circles
	cargo xtask links
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	@for page in README.md CONTRIBUTING.md; do grep -q "Rust $(MSRV) or newer" $$page || \
	  { echo "$$page: wants \"Rust $(MSRV) or newer\", as rust-version in Cargo.toml"; exit 1; }; done
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is not installed: scripts are not looked at"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny --log-level error check --hide-inclusion-graph bans licenses sources; \
	  else echo "cargo-deny is not installed: licences and bans of dependencies are not looked at"; fi

test-unit: ## Unit, property and contract tests, and whether docs/reference is as the code says: no peer is needed
	@mkdir -p $(dir $(LOG))
	cargo test --quiet 2>&1 | tee -a $(LOG)
	cargo xtask docs --check

docs: ## Write docs/reference and the README's table of keys from the code
	cargo xtask docs

# Versions are fixed in package.json; a lock file would name the registry that it was made with.
test-page: build ## The page that `tidegate dashboard` opens, in a headless Chromium
	@if command -v chromium >/dev/null && command -v npm >/dev/null; then \
	  cd tests/page && npm install --no-package-lock --no-audit --no-fund --silent && TIDEGATE=$(BIN)/tidegate npm test --silent; \
	  else echo "Chromium or npm is not installed: the page is not tested"; fi

# Links that leave docs/ lead to the repository: the site has nothing but docs/.
docs-site: REPOSITORY := $(shell sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
docs-site: ## The site of docs/ in target/site, by mdBook
	@command -v mdbook >/dev/null || { echo "mdbook is not installed: cargo install mdbook --locked"; exit 1; }
	@rm -rf target/site target/site-source
	@mkdir -p target
	@cp -r docs target/site-source
	@sed -i 's#](\.\./#]($(REPOSITORY)/blob/main/#g' target/site-source/*.md
	mdbook build target/site-source --dest-dir $(CURDIR)/target/site

test-oracle: build ## Discovery beside each case of Envoy Gateway's own tests, whose sources Go gets
	@mkdir -p $(dir $(LOG))
	$(BIN)/stack build envoy-gateway-cases
	TIDEGATE_ENVOY_GATEWAY_SOURCE="$$($(BIN)/stack path envoy-gateway-cases)" \
	  cargo test --quiet --test envoy_gateway_oracle -- --include-ignored 2>&1 | tee -a $(LOG)

test-trust: export TIDEGATE_TRUST_CASES := 1000000
test-trust: ## A million random faults: no answer falls below the true demand; 5 min
	cargo test --quiet --release -p tidegate-scaler --lib demand::trust

test-memory: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := valgrind --quiet --error-exitcode=9 \
	--leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --suppressions=$(CURDIR)/scaler/tests/valgrind.supp
test-memory: ## The binding of librdkafka under valgrind, which is not installed by any other target
	cargo test --quiet -p tidegate-scaler --features kafka --test sources kafka -- --test-threads=2

test-msrv: ## The crates with the oldest Rust that works (rust-version in Cargo.toml)
	@toolchain=$$(rustup toolchain list 2>/dev/null | grep -oE '^$(MSRV)(\.[0-9]+)?\b' | head -1); \
	if [ -n "$$toolchain" ]; then \
	  rustup run $$toolchain cargo check --workspace --no-default-features --quiet --target-dir $(BIN)/../msrv; \
	  else echo "Rust $(MSRV) is not installed: nothing was compiled with it (rustup toolchain install $(MSRV) --profile minimal)"; fi

# Without a sanitizer, which is for unsafe code and needs a nightly Rust.
fuzz: ## Each parser with random input for FUZZ_SECONDS (60); needs cargo-fuzz and a C++ compiler
	@cp Cargo.lock fuzz/
	cargo fuzz build --sanitizer none
	@for target in $$(cargo fuzz list); do \
	  mkdir -p fuzz/corpus/$$target; seeds=fuzz/seeds/$$target; [ -d $$seeds ] || seeds=examples; echo "$$target"; \
	  cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target $$seeds -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1; done

test-e2e: export TIDEGATE_E2E_TIMES := $(CURDIR)/target/e2e-times
# The tests of Envoy AI Gateway have a stack of their own: beside its extension server, listeners of TCP and TLS are not programmed.
test-e2e: build ## End-to-end tests on the real peers, which are built first where they are missing
	@mkdir -p $(dir $(LOG))
	cargo test --quiet --test stack 2>&1 | tee -a $(LOG)
	HELM="$$($(BIN)/stack path helm)" PROMTOOL="$$($(BIN)/stack path promtool)" TIDEGATE=$(BIN)/tidegate charts/test.sh 2>&1 | tee -a $(LOG)
	cargo test --quiet --test e2e --no-run
	@rm -f $(TIDEGATE_E2E_TIMES)
	$(BIN)/stack run --with prometheus,kafka,metrics-server,argo-rollouts,ratelimit,cert-manager,example-crds -- cargo test --quiet --test e2e -- --test-threads=$(E2E_THREADS) --skip llm:: --skip tokens:: 2>&1 | tee -a $(LOG)
	$(BIN)/stack run --with prometheus,kafka,ratelimit,ai-gateway,llama-cpp -- cargo test --quiet --test e2e -- --test-threads=$(E2E_THREADS) llm:: tokens:: 2>&1 | tee -a $(LOG)
	@echo "The slowest:" && sort -rn $(TIDEGATE_E2E_TIMES) | head

bench: ## The benchmarks of docs/benchmarks.md that need no peers
	cargo bench --quiet

bench-step: build ## A step of the load until replicas follow, beside KEDA's own prometheus trigger, on the real stack
	cargo bench --quiet --bench step --no-run
	$(BIN)/stack run --with prometheus --profile stock -- cargo bench --quiet --bench step

bench-zero: build ## The first request to a workload at zero, and 200 at once, beside KEDA's HTTP add-on, on the real stack; 25 min
	cargo bench --quiet --bench zero --no-run
	$(BIN)/stack run --with prometheus,http-add-on --profile stock -- cargo bench --quiet --bench zero

bench-bursts: build ## An hour of random bursts: the real HPA takes back no replica that the leader has added; 16 min
	cargo bench --quiet --bench bursts --no-run
	$(BIN)/stack run --profile stock -- cargo bench --quiet --bench bursts

bench-cycles: build ## 500 cycles 0 to 1 to 0 by all protocols while Tidegate is replaced: not one request may be lost
	cargo bench --quiet --bench cycles --no-run
	$(BIN)/stack run --profile stock -- cargo bench --quiet --bench cycles

tour: build ## One day of the whole stack in minutes: API, Kafka consumer, model and proxies by day, at night and in the morning; writes docs/charts/tour.svg
	cargo bench --quiet --bench tour --no-run
	$(BIN)/stack run --with kafka,ai-gateway -- cargo bench --quiet --bench tour

bench-opening: build ## Workloads that open at the same minute, beside KEDA's own cron trigger, on the real stack
	cargo bench --quiet --bench opening --no-run
	$(BIN)/stack run --profile stock -- cargo bench --quiet --bench opening

bench-llm: build ## Recorded load of LLM servers, beside KEDA's own prometheus trigger, on the real stack; 25 min
	cargo bench --quiet --bench llm --no-run
	$(BIN)/stack run --with prometheus,ai-gateway -- cargo bench --quiet --bench llm

bench-kafka: build ## Sweeps of 1 to 3,000 consumer groups, beside KEDA's own kafka trigger, on the real stack
	cargo build --release -p tidegate
	cargo bench --quiet --bench kafka --no-run
	TIDEGATE_RELEASE=$(BIN)/../release/tidegate $(BIN)/stack run --profile stock --with kafka -- \
	  cargo bench --quiet --bench kafka

build:
	cargo build
