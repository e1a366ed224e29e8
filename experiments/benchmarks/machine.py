"""What a benchmark says of the machine, and how it keeps what it measured."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax

import logistack as ls
from experiments import keeping

QUIET = 0.5  # the load above which the figures are warned of
LIBRARIES = (
    "jax",
    "jaxlib",
    "optax",
    "numpy",
    "torch",
    "scikit-learn",
    "flax",
    "equinox",
    "skorch",
    "pytabkit",
)


class Section(NamedTuple):
    """What one part of a benchmark measured on one workload, and its table."""

    part: str
    size: str
    numbers: dict[str, Any]
    table: str


def load_now() -> float | None:
    """The load average over the last minute; None on a system that does not have it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def heading(load: float | None) -> str:
    """The machine, and how busy it is."""
    said = (
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {'unknown' if load is None else f'{load:.2f}'}"
    )
    if load is not None and load > QUIET:
        said += (
            f"\nWarning: the load is above {QUIET}. Other work slows these runs, and those of some "
            "libraries more than others'."
        )
    return said


def record(sections: list[Section], command: str, load: float | None) -> dict[str, Any]:
    """The numbers with what it takes to judge and repeat them."""
    versions = {"python": platform.python_version(), "logistack": ls.__version__}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": {
            "device": jax.devices()[0].device_kind,
            "processor": processor(),
            "cores": os.cpu_count(),
            "load": load,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": versions,
        "sections": [
            {**section._asdict(), "table": section.table.splitlines()} for section in sections
        ],
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def path_of(folder: Path, benchmark: str) -> Path:
    """The file for the numbers, beside those of other devices."""
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    return folder / f"{benchmark}-{device}.json"


def write(path: Path, sections: list[Section], command: str, load: float | None) -> None:
    """Writes the numbers as JSON."""
    content = json.dumps(record(sections, command, load), indent=1, ensure_ascii=False)
    keeping.write_whole(path, f"{content}\n")


def save(path: Path, sections: list[Section], command: str, load: float | None) -> None:
    """Writes the numbers as JSON, and says where they are."""
    write(path, sections, command, load)
    print(f"\nnumbers  {path}")
