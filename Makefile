# Every target gets what it needs by itself: a virtual environment in .venv with the locked dependencies.
# Nothing is installed outside this checkout and the user's cache folder.
.DEFAULT_GOAL := help
.PHONY: help setup picture demo dev test quick test-all check docs deploy-check audit format proto protocol vectors commands settings events machines autobahn bench lab wheel release workflows clean
BIN := .venv/bin
# Processes that run tests: most tests wait most of the time.
WORKERS ?= $(shell n=$$(( 3 * $$(getconf _NPROCESSORS_ONLN) )); [ $$n -gt 12 ] && n=12; echo $$n)
SETUP := .venv/.locked
# Programs start many processes: without bytecode each of them compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(SETUP): pyproject.toml uv.lock
	@uv=$$(sh tools/bootstrap.sh) && "$$uv" sync --frozen --quiet --compile-bytecode
	@touch $@

setup: $(SETUP) ## .venv/bin/glassbridge, ready to run

demo: setup ## the whole path on this machine: a phone speaks, captions come back
	@$(BIN)/glassbridge demo $(ARGS)

dev: setup ## LiveKit, bridge and cloud for a client of your own; Ctrl-C stops all
	@$(BIN)/glassbridge dev $(ARGS)

# The same examples for everybody; test-all and the simulation look for new ones.
test: setup ## the test suite (the real livekit-server part runs where one can be had)
	@$(BIN)/python -m tools.livekit_server
	@$(BIN)/pytest -m "not slow" -n $(WORKERS) --dist loadgroup --hypothesis-profile=ci $(ARGS)

quick: setup ## what to run after each edit: machines, shells and the simulation
	@$(BIN)/pytest -q -m "not slow" -n logical --hypothesis-profile=ci tests/core tests/runtime tests/sim $(ARGS)

test-all: setup ## the suite with its slow part
	@$(BIN)/python -m tools.livekit_server
	@$(BIN)/pytest $(ARGS)

check: setup ## format, lint, types, imports, what is generated, ports to the world, links of the docs, tests that SECURITY.md names
	@$(BIN)/ruff format --check src tests tools examples
	@$(BIN)/ruff check src tests tools examples
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/generate_proto.py --check
	@$(BIN)/python tools/draw_machines.py --check
	@$(BIN)/python tools/export_rules.py --check
	@$(BIN)/python tools/describe_protocol.py --check
	@$(BIN)/python tools/frame_vectors.py --check
	@$(BIN)/python -m tools.describe_commands --check
	@$(BIN)/python -m tools.describe_settings --check
	@$(BIN)/python -m tools.describe_events --check
	@$(BIN)/python -m tools.describe_metrics --check
	@$(BIN)/python tools/check_world.py
	@$(BIN)/pytest -q -p no:cacheprovider tests/test_security_table.py
	@$(MAKE) --no-print-directory docs

docs: setup ## the documentation as a site in out/site; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

deploy-check: setup ## the Helm chart: lint, and each object against the schemas of Kubernetes (helm is built once with Go)
	@"$$(sh tools/bootstrap.sh)" run --frozen --quiet --isolated --group deploy python tools/check_deploy.py

picture: setup ## the picture of the README: films the demo while it is broken (30 s)
	@$(BIN)/python -m tools.draw_break_it

audit: setup ## known holes in the locked dependencies (offline: it says so), and an SBOM in out/audit
	@$(BIN)/python -m tools.audit $(ARGS)

format: setup ## write the format and the safe lint fixes
	@$(BIN)/ruff format src tests tools examples
	@$(BIN)/ruff check --fix src tests tools examples

proto: setup ## generate the gRPC code from proto/
	@$(BIN)/python tools/generate_proto.py

protocol: setup ## describe the sockets in docs/protocol from their structs
	@$(BIN)/python tools/describe_protocol.py

vectors: setup ## test vectors of audio frames in docs/protocol/vectors from the codec
	@$(BIN)/python tools/frame_vectors.py

commands: setup ## describe the commands in docs/cli.md and the troubles in docs/doctor.md
	@$(BIN)/python -m tools.describe_commands

settings: setup ## describe the settings in docs/settings.md
	@$(BIN)/python -m tools.describe_settings

events: setup ## list log events and metrics in docs/observability.md
	@$(BIN)/python -m tools.describe_events
	@$(BIN)/python -m tools.describe_metrics

machines: setup ## draw the machines in docs/machines.md from their tables, and export the phone's for other languages
	@$(BIN)/python tools/draw_machines.py
	@$(BIN)/python tools/export_rules.py

autobahn: setup ## the WebSocket conformance suite against both sockets (needs Python 2.7; two minutes)
	@sh tools/autobahn.sh $(ARGS)

bench: setup ## measure the path beside its floor
	@$(BIN)/glassbridge bench path $(ARGS)

lab: setup ## break a running system in every way of the catalogue, real and simulated; see out/lab/report.md (more than an hour)
	@$(BIN)/python -m tools.livekit_server
	@$(BIN)/glassbridge lab run all $(ARGS)
	@$(BIN)/glassbridge lab sim --seeds 30000 --processes $$(nproc)

wheel: setup ## dist/*.whl
	@uv=$$(sh tools/bootstrap.sh) && "$$uv" build --wheel --quiet

release: setup ## wheel and source archive in dist, installed and tried in clean environments of each Python
	@$(BIN)/python -m tools.check_release --out dist $(ARGS)

workflows: ## the files of .github/workflows, by actionlint (needs Go)
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 .github/workflows/*.yml

clean: ## everything that was made here
	rm -rf .venv dist build out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
