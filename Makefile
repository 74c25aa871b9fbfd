# `make` lists the targets. Tools are installed only into .tools.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

ARCH ?= x86_64
PYTHON ?= python3
export PYTHON

ifeq ($(filter $(ARCH),x86_64 arm64),)
$(error ARCH is `$(ARCH)`, but must be x86_64 or arm64)
endif

TOOLS := $(CURDIR)/.tools
installed = $(TOOLS)/$(1)/.installed

# sam finds cargo-lambda and zig on the path. Their caches are in .tools, too. The prefix map keeps this machine's paths out of the
# binary.
BUILD_ENV := RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo $${RUSTFLAGS:-}" PATH="$(TOOLS)/sam/bin:$$PATH" \
	ZIG_GLOBAL_CACHE_DIR="$(TOOLS)/cache/zig" CARGO_ZIGBUILD_CACHE_DIR="$(TOOLS)/cache/zigbuild"
SAM := $(BUILD_ENV) SAM_CLI_TELEMETRY=0 __SAM_CLI_APP_DIR="$(TOOLS)/sam-home" sam

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  %-18s %s\n' "$$target" "$$text"; done
	@echo 'ARCH=arm64 builds, packages, and deploys for arm64 (default: x86_64). PYTHON sets the interpreter (3.10 or later).'

.PHONY: demo
demo: cargo $(call installed,sam) $(call installed,ministack) ## Deploy to an AWS emulator on this machine and show what trailseal does
	@$(TOOLS)/ministack/bin/python -B demo/demo.py

.PHONY: build
build: cargo $(call installed,sam) ## Build the function for Lambda in .aws-sam/build
	$(SAM) build --parameter-overrides Architecture=$(ARCH)

.PHONY: deploy
deploy: build ## Deploy to your AWS account (PARAMETERS="Mode=enforce AlertEmail=...")
	$(SAM) deploy --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

RUST_TARGET_x86_64 := x86_64-unknown-linux-gnu
RUST_TARGET_arm64 := aarch64-unknown-linux-gnu

.PHONY: package
package: cargo $(call installed,sam) $(TOOLS)/cyclonedx/bin/cargo-cyclonedx ## Create a package in dist/ for deployment without the sources
	$(SAM) build --build-dir .tools/package/build --parameter-overrides Architecture=$(ARCH)
	scripts/bill-of-materials . $(RUST_TARGET_$(ARCH)) > .tools/package/trailseal.cdx.json
	# A cross compiler only: the optimizations of cargo-lambda are for Lambda's processors.
	$(BUILD_ENV) cargo lambda build --quiet --release --locked --package trailseal-cli --bin trailseal \
		--target $(RUST_TARGET_$(ARCH)) --disable-optimizations --lambda-dir .tools/package
	scripts/package-cli .tools/package/trailseal/bootstrap $(RUST_TARGET_$(ARCH)) .tools/package/cli
	@$(TOOLS)/sam/bin/python -B scripts/package $(ARCH) .tools/package/build .tools/package/trailseal.cdx.json .tools/package/cli dist

# Built from source, because its output describes the package.
$(TOOLS)/cyclonedx/bin/cargo-cyclonedx:
	cargo install cargo-cyclonedx@0.5.9 --quiet --locked --root "$(TOOLS)/cyclonedx"

.PHONY: deploy-forwarders
deploy-forwarders: $(call installed,sam) ## Forward the events of other Regions (REGIONS="eu-central-1 ...")
	@$(TOOLS)/sam/bin/python -B scripts/forwarders deploy $(REGIONS)

.PHONY: delete-forwarders
delete-forwarders: $(call installed,sam) ## Stop forwarding the events of other Regions (REGIONS="...")
	@$(TOOLS)/sam/bin/python -B scripts/forwarders delete $(REGIONS)

.PHONY: live-check
live-check: cargo $(call installed,sam) ## Check on the sandbox account ACCOUNT=ID what emulators cannot show (OPTIONS="--region ...")
	@$(TOOLS)/sam/bin/python -B scripts/live-check --account "$(ACCOUNT)" --validate $(OPTIONS)
	@$(MAKE) --no-print-directory build
	@$(TOOLS)/sam/bin/python -B scripts/live-check --account "$(ACCOUNT)" --parameters Architecture=$(ARCH) $(OPTIONS)

.PHONY: test
test: lint $(call installed,moto) ## Run all checks and tests
	MOTO_SERVER="$(TOOLS)/moto/bin/moto_server" cargo test --workspace --locked
	@$(MAKE) --no-print-directory simulate
	@$(MAKE) --no-print-directory check-deps
	@$(MAKE) --no-print-directory test-stack

.PHONY: simulate
simulate: cargo ## Simulate SEEDS=3000 runs from FIRST_SEED=0 on, or print the run SEED=n
	@SEEDS=$(SEEDS) FIRST_SEED=$(FIRST_SEED) SEED=$(SEED) cargo run --quiet --locked --profile simulate --package trailseal-simulator

.PHONY: test-stack
test-stack: cargo $(call installed,sam) $(call installed,ministack) ## Test the stack in an AWS emulator (TESTS="test_rules ...")
	$(TOOLS)/ministack/bin/python -B tests/stack/run.py $(TESTS)

SECONDS ?= 600
TARGETS ?= trigger policy_evaluation policy_extension central_key check_policy

# What is found is in fuzz/corpus, what fails in fuzz/artifacts.
.PHONY: fuzz
fuzz: cargo $(TOOLS)/fuzz/bin/cargo-fuzz ## Fuzz each target for SECONDS=600 (TARGETS="trigger ...")
	for target in $(TARGETS); do mkdir -p "fuzz/corpus/$$target"; \
		PATH="$(TOOLS)/fuzz/bin:$$PATH" cargo fuzz run --sanitizer none "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" \
			-- -max_total_time=$(SECONDS) -timeout=10 -max_len=4096 -print_final_stats=1; done

# Needs a C++ compiler, for libFuzzer.
$(TOOLS)/fuzz/bin/cargo-fuzz:
	cargo install cargo-fuzz@0.13.2 --quiet --locked --root "$(TOOLS)/fuzz"

SHARD ?= 0/1

# A test must notice if the code changes: in crates/core a test of the decisions, in src a test of a port or a scenario.
# Most scenarios wait, so more of them run at once than there are processors.
MUTATE := PATH="$(TOOLS)/mutants/bin:$$PATH" RUST_TEST_THREADS=16 cargo mutants --sharding round-robin --shard $(SHARD)
.PHONY: mutants
mutants: cargo $(TOOLS)/mutants/bin/cargo-mutants ## Change the code in one place at a time: a test must fail (SHARD=0/20)
	$(MUTATE) --package trailseal-core --output "$(TOOLS)/mutants/core" || [ $$? -le 3 ]
	$(MUTATE) --package trailseal --output "$(TOOLS)/mutants/src" -- --lib --test function -- --skip moto || [ $$? -le 3 ]
	@$(PYTHON) scripts/mutation-score "$(TOOLS)/mutants/core/mutants.out" "$(TOOLS)/mutants/src/mutants.out"

$(TOOLS)/mutants/bin/cargo-mutants:
	cargo install cargo-mutants@27.1.0 --quiet --locked --root "$(TOOLS)/mutants"

.PHONY: lint
lint: cargo lint-files lint-template ## Check Rust, Python, scripts, workflows, and templates; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

.PHONY: lint-files
lint-files: $(call installed,lint) $(call installed,checkov)
	$(TOOLS)/lint/bin/ruff check --quiet
	$(TOOLS)/lint/bin/ruff format --quiet --check
	$(TOOLS)/lint/bin/shellcheck .ci/run $$(grep -lE '^#!.*sh$$' scripts/*)
	$(TOOLS)/lint/bin/actionlint -shellcheck $(TOOLS)/lint/bin/shellcheck
	$(TOOLS)/lint/bin/zizmor --offline --quiet .github action.yml
	$(TOOLS)/checkov/bin/checkov --config-file .checkov.yaml

# sam requires a Region, but validates offline. It includes cfn-lint.
.PHONY: lint-template
lint-template: $(call installed,sam) ## Validate the templates, and check tests/template/expanded.json
	$(SAM) validate --lint --region eu-west-1
	$(SAM) validate --lint --region eu-west-1 --template-file forwarder.yaml
	$(SAM) validate --lint --region eu-west-1 --template-file hub.yaml
	$(SAM) validate --lint --region eu-west-1 --template-file security-hub.yaml
	$(TOOLS)/sam/bin/python -B scripts/expand-template --stackset .tools/stackset.json
	$(SAM) validate --lint --region eu-west-1 --template-file .tools/stackset.json
	$(TOOLS)/sam/bin/python -B scripts/expand-template --check

.PHONY: expand-template
expand-template: $(call installed,sam) ## Write the expanded template.yaml to tests/template/expanded.json
	$(TOOLS)/sam/bin/python -B scripts/expand-template

.PHONY: release
release: cargo ## Build the function's release binary for this machine
	cargo build --release --locked --package trailseal

.PHONY: cli
cli: cargo ## Build the command-line tool, target/release/trailseal
	cargo build --release --locked --package trailseal-cli

.PHONY: check-deps
check-deps: cargo ## Check that exactly one TLS stack is linked, without jitter entropy
	$(PYTHON) scripts/check-deps

.PHONY: bench
bench: cargo ## Measure the release build against its budgets
	cargo run --release --locked --package trailseal-bench

.PHONY: lock-tools
lock-tools: ## Update the pinned tools in requirements/*.txt
	scripts/lock-tools

.PHONY: clean-tools
clean-tools: ## Remove .tools
	rm -rf "$(TOOLS)"

# Reinstalls the tools if their list or the installation script has changed.
$(TOOLS)/%/.installed: requirements/%.txt requirements/pip.txt scripts/tool-env
	@scripts/tool-env $*

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo was not found: install Rust 1.94.1 or later" >&2; exit 1; }
