# `make` lists the targets. Everything that they install goes into .tools; nothing is installed elsewhere.

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

# sam finds cargo-lambda and its zig on the path; their caches stay in .tools too. What is built does not know where the sources
# of its crates were.
SAM := RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo $${RUSTFLAGS:-}" PATH="$(TOOLS)/sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 __SAM_CLI_APP_DIR="$(TOOLS)/sam-home" \
	ZIG_GLOBAL_CACHE_DIR="$(TOOLS)/cache/zig" CARGO_ZIGBUILD_CACHE_DIR="$(TOOLS)/cache/zigbuild" sam

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  %-18s %s\n' "$$target" "$$text"; done
	@echo 'ARCH=arm64 builds and deploys for arm64 (default: x86_64); PYTHON names a Python of 3.10 or later.'

.PHONY: demo
demo: cargo $(call installed,sam) $(call installed,ministack) ## Deploy to an AWS emulator on this machine, and watch it work
	@$(TOOLS)/ministack/bin/python -B demo/demo.py

.PHONY: build
build: cargo $(call installed,sam) ## Build the function for Lambda, into .aws-sam/build
	$(SAM) build --parameter-overrides Architecture=$(ARCH)

.PHONY: deploy
deploy: build ## Deploy to your AWS account; PARAMETERS="Mode=enforce AlertEmail=..." sets parameters
	$(SAM) deploy --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

RUST_TARGET_x86_64 := x86_64-unknown-linux-gnu
RUST_TARGET_arm64 := aarch64-unknown-linux-gnu

.PHONY: package
package: cargo $(call installed,sam) $(TOOLS)/cyclonedx/bin/cargo-cyclonedx ## Make a folder in dist/ that is deployed without the sources
	$(SAM) build --build-dir .tools/package/build --parameter-overrides Architecture=$(ARCH)
	PATH="$(TOOLS)/cyclonedx/bin:$$PATH" SOURCE_DATE_EPOCH=0 cargo cyclonedx --quiet --format json --no-build-deps \
		--target $(RUST_TARGET_$(ARCH)) --override-filename trailseal.cdx
	mv trailseal.cdx.json .tools/package/ && rm -f crates/*/trailseal.cdx.json
	@$(TOOLS)/sam/bin/python -B scripts/package $(ARCH) .tools/package/build .tools/package/trailseal.cdx.json dist

# Built here, like everything else that a bill of materials tells of.
$(TOOLS)/cyclonedx/bin/cargo-cyclonedx:
	cargo install cargo-cyclonedx@0.5.9 --quiet --locked --root "$(TOOLS)/cyclonedx"

.PHONY: deploy-forwarders
deploy-forwarders: $(call installed,sam) ## Have other Regions send their events; REGIONS="eu-central-1 ..."
	@$(TOOLS)/sam/bin/python -B scripts/forwarders deploy $(REGIONS)

.PHONY: delete-forwarders
delete-forwarders: $(call installed,sam) ## Undo that; REGIONS="eu-central-1 ..."
	@$(TOOLS)/sam/bin/python -B scripts/forwarders delete $(REGIONS)

.PHONY: test
test: lint lint-template release check-deps $(call installed,moto) ## Everything that must pass: lints, tests, template, linked libraries
	TRAILSEAL_BINARY="$(abspath target/release/trailseal)" MOTO_SERVER="$(TOOLS)/moto/bin/moto_server" \
		cargo test --workspace --locked
	@$(MAKE) --no-print-directory test-stack

.PHONY: test-stack
test-stack: cargo $(call installed,sam) $(call installed,ministack) ## Deploy to an AWS emulator on this machine, and test what came of it
	$(TOOLS)/ministack/bin/python -B tests/stack/run.py $(TESTS)

.PHONY: lint
lint: cargo ## Formatting, clippy and rustdoc, none of which may warn
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The Region is only there because sam wants one; nothing is asked over the network.
.PHONY: lint-template
lint-template: $(call installed,sam) ## Validate the templates, and check that the tests judge what they come to
	$(SAM) validate --lint --region eu-west-1
	$(SAM) validate --lint --region eu-west-1 --template-file forwarder.yaml
	$(SAM) validate --lint --region eu-west-1 --template-file hub.yaml
	$(TOOLS)/sam/bin/python -B scripts/expand-template --stackset .tools/stackset.json
	$(SAM) validate --lint --region eu-west-1 --template-file .tools/stackset.json
	$(TOOLS)/sam/bin/python -B scripts/expand-template --check

.PHONY: expand-template
expand-template: $(call installed,sam) ## Write what template.yaml comes to into tests/template/expanded.json
	$(TOOLS)/sam/bin/python -B scripts/expand-template

.PHONY: release
release: cargo ## Build the release binary for this machine
	cargo build --release --locked --package trailseal

.PHONY: check-deps
check-deps: release ## Check that one TLS stack is linked, without jitter entropy
	$(PYTHON) scripts/check-deps

.PHONY: bench
bench: cargo ## Measure the budgets
	cargo run --release --locked --package trailseal-bench

.PHONY: lock-tools
lock-tools: ## Pin the tools in requirements/*.txt anew
	scripts/lock-tools

.PHONY: clean-tools
clean-tools: ## Remove what was installed into .tools
	rm -rf "$(TOOLS)"

# A changed list, or a changed way to install it, makes the environment anew.
$(TOOLS)/%/.installed: requirements/%.txt requirements/pip.txt scripts/tool-env
	@scripts/tool-env $*

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo was not found: install Rust 1.94.1 or later" >&2; exit 1; }
