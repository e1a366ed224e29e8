"""What it costs to start: processes of their own, from their start to an import or first epoch."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORT_LIMIT = 0.3  # seconds beyond `import jax`

# A job as small as that of experiments/digits.py: as many images of 16×16, the same network.
FIRST_EPOCH = """
import jax, numpy, optax, logistack
generator = numpy.random.default_rng(0)
inputs = generator.random((1437, 256), numpy.float32)
labels = generator.integers(0, 10, 1437)
key = jax.random.key(0)
result = logistack.fit_with_callbacks(
    key, logistack.init_params(key, (256, 128, 64, 10)), inputs, numpy.eye(10)[labels],
    optimizer=optax.sgd(0.02, momentum=0.9), epochs=1, batch_size=32,
)
jax.block_until_ready(result)
"""


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds from a new process's start to its end of an import, or of a first epoch."""
    seconds: dict[str, list[float]] = {}

    def add(name: str, code: str, cache: str | None = None) -> None:
        start = time.time()
        end = end_of(code, cache)
        seconds.setdefault(name, []).append(end - start)

    imports = {
        "import jax": "import jax",
        "import jax, logistack": "import jax, logistack",
        # logistack imports its parts when they are first used: this is what it has put off.
        "the same, and name ls.fit": "import jax, logistack as ls; ls.fit",
    }
    end_of(imports["the same, and name ls.fit"])  # so that no round reads the files from the disk
    for _ in range(rounds):
        for name, code in imports.items():
            add(name, code)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            add("first epoch, cache empty", FIRST_EPOCH, cache)
            add("first epoch, cache filled", FIRST_EPOCH, cache)
    return seconds


def end_of(code: str, cache: str | None = None) -> float:
    """Runs a program in a process of its own; when it was done, in the clock's seconds."""
    environment = {
        name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
    }
    if cache is not None:
        # JAX leaves out what compiled within a second, unless it is told otherwise.
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    # This process holds most of a GPU's memory.
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    program = f"{code}\nimport time\nprint(time.time())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True
    )
    return float(done.stdout)


def tell(seconds: dict[str, list[float]]) -> str:
    """Medians over the rounds, and what logistack adds to JAX's import."""
    first, second, third, *_ = seconds

    def beyond_jax(name: str) -> list[float]:
        return [own - alone for own, alone in zip(seconds[name], seconds[first], strict=True)]

    told = {
        **seconds,
        "logistack beyond jax": beyond_jax(second),
        "and with ls.fit named": beyond_jax(third),
    }
    lines = [f"{'from the start of a process':<28}{'seconds':>9}  (range of rounds)"]
    for name, own in told.items():
        lines.append(
            f"{name:<28}{statistics.median(own):>9.2f}  ({min(own):.2f} to {max(own):.2f})"
        )
    return "\n".join([*lines, f"expected beyond jax: at most {IMPORT_LIMIT} s"])
