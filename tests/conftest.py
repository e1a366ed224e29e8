"""Strict settings for the whole suite; they stand before JAX starts."""

import builtins
import itertools
import os
import tempfile

from jaxlib.version import __version_info__ as jaxlib_version

# Eight devices; what the environment says comes last, and wins.
FLAGS = "--xla_force_host_platform_device_count=8"
if jaxlib_version[:2] == (0, 10):
    # Compiling takes most of the suite's time, and these save more than half of it. Programs are
    # then rounded otherwise than users'. Newer versions end the process at the flag; with them all
    # runs as users have it, what compares bits included.
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = f"{FLAGS} {os.environ.get('XLA_FLAGS', '')}"
# Those devices are CPUs, whose float32 is that of the oracles. JAX_PLATFORMS=cuda tries a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
# Dtypes are strict in a test of their own: Optax's Adam and schedules promote counts to floats.


def pytest_configure(config):
    # The installed wheel is tested without Hypothesis.
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import settings

        settings.register_profile("logistack", deadline=None, derandomize=True, max_examples=50)
        settings.load_profile("logistack")
    keep_programs(config)


def keep_programs(config):
    """Compiles a program once a run: one of a single operation is in most files, and takes 30 ms.

    Where JAX has been told a folder, as by JAX_COMPILATION_CACHE_DIR, the next run has them, too.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = getattr(config, "workerinput", {}).get("programs")
        if folder is None:
            own = tempfile.TemporaryDirectory(prefix="logistack-", ignore_cleanup_errors=True)
            config.add_cleanup(own.cleanup)
            folder = own.name
        jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    # A worker of pytest-xdist shares the folder. JAX does not write a file at once: who reads a
    # part of it is warned, which is ignored, and compiles.
    node.workerinput["programs"] = jax.config.values["jax_compilation_cache_dir"]


DONE = itertools.count(1)


def pytest_runtest_teardown(item, nextitem):
    # A compiled run holds about 10 MB, which JAX would keep for the whole suite: 4 GB a worker.
    if nextitem is None or nextitem.path != item.path or not next(DONE) % 60:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def last_value():
    """Lets nothing see the value that a doctest printed last, which Python keeps as `_`."""
    yield
    vars(builtins).pop("_", None)


@pytest.fixture
def optimized():
    """Programs that are optimized as users' are, for one test."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.fixture
def x64():
    """64-bit numbers for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilations():
    """A list that grows by one entry for every program XLA compiles, whatever ran before."""
    jax.clear_caches()
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
