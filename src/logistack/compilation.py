"""Compiled programs that outlive their process, for scripts that start often."""

import os
from pathlib import Path

import jax


def keep_compiled_programs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Has JAX keep what it compiles in a folder, so that the next run need not compile it.

    This changes JAX's configuration for the whole process, so it is for the top of a script.
    Where JAX has been given such a folder already, as by JAX_COMPILATION_CACHE_DIR, it stays.

    Args:
        folder: where to keep the programs; by default in the user's cache folder.

    Returns:
        The folder in use.

    >>> folder = keep_compiled_programs()  # doctest: +SKIP
    """
    configured = jax.config.values["jax_compilation_cache_dir"]
    if configured is not None:
        return Path(configured)
    if folder is None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(caches) / "logistack" / "compiled"
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    # By default JAX keeps only what took a second to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return Path(folder)
