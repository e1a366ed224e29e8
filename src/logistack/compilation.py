"""Compiled programs that outlive their process, for scripts that start often.

Within a process JAX keeps every program it has compiled. A run is compiled once for each shape,
number of epochs and function, and a number inside a function is part of it: `optax.sgd(0.1)` and
`optax.sgd(0.2)` are two programs of about 7 MB each, where `hyperparams={"learning_rate": ...}`
shares one. `jax.clear_caches()` frees all of them.
"""

import os
from pathlib import Path

import jax

from logistack._files import local_path


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
