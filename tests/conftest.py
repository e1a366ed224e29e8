"""Strict settings for the whole suite: they stand before JAX starts, and change no test's result."""

import os

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)
# Eight devices are CPUs, and oracles in float64 want its exact float32; say another to try it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    # The installed wheel is tested with this file too, but without Hypothesis.
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import settings

        settings.register_profile(
            "logistack", deadline=None, derandomize=True, database=None, max_examples=50
        )
        settings.load_profile("logistack")


@pytest.fixture
def x64():
    """64-bit numbers for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilations():
    """A list that grows by one entry for every program XLA compiles."""
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
