# Every target sets up what it needs and does nothing twice. uv is used where it is installed.
# PYTHON=python3.12 makes environments of its own beside those of the default.
PYTHON ?= python3
SUFFIX := $(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
VENV := .venv$(SUFFIX)
WHEEL_VENV := .venv-wheel$(SUFFIX)
UV := $(shell command -v uv 2>/dev/null)
SOURCES := $(shell find src -type f -not -name '*.pyc')

ifdef UV
create = uv venv --quiet --seed --clear --python $(PYTHON) $(1)
install = uv pip install --quiet --python $(1)/bin/python $(2)
else
create = $(PYTHON) -m venv --clear $(1)
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
endif

.PHONY: help digits article backpropagation width depth limits census validation defaults published browser test test-fast test-oldest docs wheel lint benchmark benchmark-population benchmark-estimator benchmark-accelerator clean

help:
	@echo 'make digits            train a network on handwritten digits and show what it learned'
	@echo 'make article           reproduce the numbers and figures of the article'
	@echo 'make backpropagation   compute the gradient by hand, and draw where it vanishes'
	@echo 'make width             train 640 networks of 1 to 256 hidden units, and find how many are enough'
	@echo 'make depth             train stacks of 1 to 10,000 layers from six starts, for an hour, and draw where they fail'
	@echo 'make limits            find how many hidden units are enough where a line is not, with proofs both ways'
	@echo 'make census            train 10,000 networks on XOR, and map which learn it'
	@echo 'make validation        compare a network with those of scikit-learn over ten times ten folds'
	@echo 'make defaults          choose the defaults of the classifier, and compare it as it comes with those of scikit-learn'
	@echo 'make published         print the kept errors beside the published ones; PUBLISHED= trains the networks, for hours'
	@echo 'make browser           train a network on MNIST, and make a page on which it reads the digits that one draws'
	@echo 'make test              lint, types, docs, the whole suite, and the public surface of the built wheel'
	@echo 'make test-fast         what of it trains small networks, for another PYTHON=python3.12'
	@echo 'make test-oldest       the estimators and reports with the oldest scikit-learn'
	@echo 'make docs              build the documentation, in build/docs'
	@echo 'make benchmark         time training beside PyTorch, scikit-learn, Flax and Equinox'
	@echo 'make benchmark-population  time many networks at once beside PyTorch, scikit-learn and plain JAX'
	@echo 'make benchmark-estimator   time the estimators beside those of scikit-learn and skorch'
	@echo 'make benchmark-accelerator  measure all of it on a GPU in eight minutes at most; or smaller, on a CPU'
	@echo 'make clean             remove the virtual environments and everything built'

digits: $(VENV)/.experiments
	$(VENV)/bin/python experiments/digits.py

article: $(VENV)/.experiments
	$(VENV)/bin/python experiments/article.py

backpropagation: $(VENV)/.experiments
	$(VENV)/bin/python experiments/backpropagation.py

depth: $(VENV)/.experiments
	$(VENV)/bin/python experiments/depth.py

limits: $(VENV)/.experiments
	$(VENV)/bin/python experiments/limits.py

width: $(VENV)/.experiments
	$(VENV)/bin/python experiments/width.py

census: $(VENV)/.experiments
	$(VENV)/bin/python experiments/xor_census.py

validation: $(VENV)/.experiments
	$(VENV)/bin/python experiments/cross_validation.py

defaults: $(VENV)/.experiments
	$(VENV)/bin/python experiments/defaults.py

# All of its networks take hours on two cores, so the results that are kept are printed unless
# asked otherwise.
PUBLISHED := --table
published: $(VENV)/.experiments
	$(VENV)/bin/python experiments/published.py $(PUBLISHED)

# npm brings what runs the network in a browser.
browser: $(VENV)/.experiments
	$(VENV)/bin/python experiments/browser/build.py

test: lint docs wheel
	$(VENV)/bin/python -m pytest -n auto --dist loadfile

# Without experiments, figures and processes that are killed: they hardly depend on the version.
SLOW := answering article backpropagation benchmarks_accelerator benchmarks_estimator \
	benchmarks_population browser cli cross_validation defaults depth digits driver estimator \
	limits plots% published readme report search separability sweep width xor_census
FAST := $(filter-out $(SLOW:%=tests/test_%.py),$(wildcard tests/test_*.py))
test-fast: $(VENV)/.test wheel
	$(VENV)/bin/python -m pytest -n auto --dist loadfile $(FAST)

# The oldest scikit-learn that the estimators work with, and what it knew: newer NumPy and SciPy have
# its own code warn.
OLDEST := 'scikit-learn==1.6.1' 'numpy<2.3' 'scipy<1.16'
test-oldest:
	$(MAKE) --no-print-directory VENV=.venv-oldest .venv-oldest/.test
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(OLDEST)
	.venv-oldest/bin/python -m pytest -n auto --dist loadfile \
		tests/test_estimator.py tests/test_search.py tests/test_export_sklearn.py tests/test_report.py

wheel: $(WHEEL_VENV)/.wheel
	@echo 'The public surface, from the built wheel with its runtime dependencies alone:'
	cd $(WHEEL_VENV) && bin/python -m pytest --noconftest -c /dev/null -p no:cacheprovider \
		-W error ../tests/test_public.py

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# From nothing each time: what an earlier build warned of would not be told again.
docs: $(VENV)/.docs
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --fresh-env \
		-d build/doctrees docs build/docs
	@echo 'The documentation is in build/docs/index.html.'

# PyTorch's plain name brings its CUDA build, gigabytes of it; pip takes a CPU build if it finds one.
benchmark: $(VENV)/.benchmarks
	$(VENV)/bin/python experiments/benchmarks/training.py

benchmark-population: $(VENV)/.benchmarks
	$(VENV)/bin/python experiments/benchmarks/population.py

benchmark-estimator: $(VENV)/.benchmarks
	$(VENV)/bin/python experiments/benchmarks/estimator.py

# JAX for the GPU that is here; ACCELERATOR=cuda12 for CUDA 12.
ACCELERATOR := $(if $(shell command -v nvidia-smi 2>/dev/null),cuda)
benchmark-accelerator: $(VENV)/.accelerator
	$(VENV)/bin/python experiments/benchmarks/accelerator.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "logistack needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=...")'
	$(call create,$(VENV))

$(VENV)/.experiments: pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),-e '.[experiments]')
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),-e '.[test]')
	@touch $@ $(VENV)/.experiments

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),-e '.[docs]')
	@touch $@

$(VENV)/.benchmarks: pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),-e '.[benchmarks]')
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@ $(VENV)/.experiments

$(VENV)/.accelerator: $(VENV)/.benchmarks
	$(if $(ACCELERATOR),$(call install,$(VENV),-e '.[$(ACCELERATOR)]'))
	@touch $@

$(WHEEL_VENV)/bin/python:
	$(call create,$(WHEEL_VENV))

$(WHEEL_VENV)/.wheel: pyproject.toml README.md LICENSE $(SOURCES) | $(WHEEL_VENV)/bin/python
	rm -rf dist
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(call install,$(WHEEL_VENV),pytest dist/*.whl)
	$(call install,$(WHEEL_VENV),$(if $(UV),--reinstall,--force-reinstall) --no-deps dist/*.whl)
	@touch $@

clean:
	rm -rf .venv .venv-* dist build docs/_gallery docs/_kept .mypy_cache .pytest_cache .ruff_cache .hypothesis
