"""What a script says before its first use of JAX: which devices, and where programs are kept.

Within a process JAX keeps every program it has compiled. A run is compiled once for each shape,
number of epochs and function, and a number inside a function is part of it: `optax.sgd(0.1)` and
`optax.sgd(0.2)` are two programs of about 7 MB each, where `hyperparams={"learning_rate": ...}`
shares one. `jax.clear_caches()` frees all of them.

`jax.export` writes a jitted function of this library, a whole `fit` or `fit_population` too, as
StableHLO: one file for `platforms=("cpu", "cuda", "rocm", "tpu")`, whichever this machine has. It
is of these shapes and settings, and needs none of the code that made it. Who reads it imports the
rooms whose named tuples it takes or returns, `logistack.training` for a history. States of an
optimizer are Optax's named tuples: leave `result.state` out, or give each of them a name in both
processes by `jax.export.register_namedtuple_serialization`.

Such a file is for exchange and not for archives. JAX promises that versions up to 6 months newer
read it, and versions up to 3 weeks older, as counted between the releases of jaxlib
(https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees). To come back to a run
years later, keep the parameters (`ls.export.numpy` or `ls.export.safetensors`), the script with its
settings and key, and a lock file of all versions, as `pip freeze` writes it.
"""

import os
from pathlib import Path

import jax

from logistack import _checks
from logistack._files import local_path


def use_cores_as_devices(count: int | None = None) -> int:
    """Makes a device of each core of the CPU, so that populations are spread over all of them.

    JAX has one device for a whole CPU, whose cores share the work of one matrix product. Products
    of small networks are too small for that, and cores that have networks of their own get more
    done. This changes JAX's configuration for the whole process: call it at the top of a script. If
    JAX has already been told how many, as by JAX_NUM_CPU_DEVICES, that stays.

    Args:
        count: how many devices; as many as there are cores for this process, by default.

    Returns:
        The number of devices of the CPU.

    Raises:
        RuntimeError: if JAX has been used before, and has another number of them.
        ValueError: if `count` is below 1.
        TypeError: if it is not an integer.

    >>> use_cores_as_devices()  # doctest: +SKIP
    2
    """
    if count is None:
        affinity = getattr(os, "sched_getaffinity", None)
        count = len(affinity(0)) if affinity else os.cpu_count() or 1
    count = _checks.require_count("count", count, low=1)
    configured = jax.config.values["jax_num_cpu_devices"]
    if configured > 0:
        return int(configured)
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        there = jax.local_device_count("cpu")
        if there != count:
            raise RuntimeError(
                f"use_cores_as_devices: expected to be called before JAX is first used, which has "
                f"{there} CPU devices now, not {count}: call it at the top of the script"
            ) from None
    return count


def keep_compiled_programs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Makes JAX keep what it compiles in a folder, so that the next process does not compile it.

    This changes JAX's configuration for the whole process: call it at the top of a script. If
    JAX already has such a folder, as from JAX_COMPILATION_CACHE_DIR, that one is used.

    Args:
        folder: where to keep the programs; a folder in the user's cache by default.

    Returns:
        The folder in use.

    Raises:
        ValueError: if the folder is a URL.
        TypeError: if it is not a path.

    >>> folder = keep_compiled_programs()  # doctest: +SKIP
    """
    configured = jax.config.values["jax_compilation_cache_dir"]
    if configured is not None:
        return Path(configured)
    if folder is None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(caches) / "logistack" / "compiled"
    folder = local_path("folder", folder)
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    # By default JAX keeps only what took a second to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder
