# `make repro` makes the table and the figures, `make test` proves them, `make check` reads the code,
# `make show` compares experiments, `make plots` and `make docs` make pages that need no network,
# `make bench` measures the cost of training, `make faults` kills the pipeline some seventy times
# (others with `make faults SEEDS="1 2 3"`) and breaks each file a thousand times.
# All set up .venv first, and do nothing for that when it is current.

PYTHON ?= python3
SEEDS ?= 0
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test check show plots docs bench faults setup
.DELETE_ON_ERROR:

repro: setup
	python mend.py
	python repro.py
	@cat metrics/table.md

test: setup
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup
	ruff check
	ruff format --check
	mypy
	python tests/requirements.py

show: setup
	@python -m stages.compare

# The charts' scripts stand in the page itself; DVC's own page loads them from the network.
plots: setup
	mkdir -p .dvc/tmp
	python -m docs.offline > .dvc/tmp/offline.html
	dvc plots show --html-template .dvc/tmp/offline.html

docs: setup
	python -m docs.fill
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo site/index.html

bench: setup
	python -m benchmarks.bench

faults: setup
	python tests/faults.py --seeds $(SEEDS) --plain
	HYPOTHESIS_PROFILE=faults python -m pytest tests/test_bad_files.py tests/test_bad_params.py

setup: .venv/installed

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; choose another with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@# Any Python of .venv finds its own `python` first, so that .venv/bin/dvc runs the stages with it
	@# wherever it is called from, activated or not.
	@.venv/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "own_bin_first.pth").write_text("import os, sys; os.environ[\"PATH\"] = os.pathsep.join([os.path.join(sys.prefix, \"bin\"), os.environ.get(\"PATH\", os.defpath)])\n")'
	@# `dvc exp run` stashes what is uncommitted, for which it needs a git identity: where there is none,
	@# this clone gets the one that git itself would guess.
	@git rev-parse --git-dir >/dev/null 2>&1 && { \
		git config user.name >/dev/null || git config user.name "$$(id -un)"; \
		git config user.email >/dev/null || git config user.email "$$(id -un)@$$(uname -n)"; } || true
	touch $@
