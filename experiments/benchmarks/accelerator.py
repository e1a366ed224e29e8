"""What does logistack make of an accelerator? One command, at most eight minutes, that goes on.

    make benchmark-accelerator
    python experiments/benchmarks/accelerator.py --parts rates training-large precision
    python experiments/benchmarks/accelerator.py --save experiments/benchmarks   # to keep it here

The parts:

    rates        large matrix products in bfloat16 and float32, and an array read and written
    training-*   the networks of `training.py`, beside PyTorch eager, compiled and as a CUDA graph
    precision    one network, small to large, in float32 and in bfloat16
    population-* 1 to 16,384 networks at once, in either; in float32 beside PyTorch's `baddbmm`
    fused        members in one kernel an epoch, beside the steps that XLA compiles
    depth        10 to 10,000 layers, and what rematerialization costs
    memory       what the compiler says that each of these programs takes
    startup      imports and a first epoch, in processes of their own
    export       each of these programs for CUDA and TPUs, which need not be here

Rates are shares of those that the first part measures on the same device, in JAX's default
precision of the dtype: a GPU multiplies float32 in TF32 then, and PyTorch is told to.

Every part runs in a process of its own and is ended at its limit. The limits are together below
eight minutes, and `--patience` multiplies them. What a part has told by then is kept, in one JSON
named after the device, with its tables as Markdown beside it. The same command goes on: it measures
what is missing or was ended, and nothing twice, as long as the device, the versions and the sizes
are the same; where they are not, the old files get their date as a name and all is measured anew.

The sizes are those for an accelerator, or for a CPU, or tiny ones that only show that all runs.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import jax

from experiments import keeping
from experiments.benchmarks import machine
from experiments.benchmarks.accelerator_parts import PARTS, SIZES, Row, latest, rates_of
from experiments.benchmarks.machine import Section

Sections: TypeAlias = dict[str, Section]

CHILD = """
import json, os, sys
rows = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is not among the rows
sys.path.insert(0, sys.argv[1])
from experiments.benchmarks.accelerator_parts import PARTS, SIZES
for row in PARTS[sys.argv[2]].measure(SIZES[sys.argv[3]]):
    print(json.dumps(row), file=rows, flush=True)
"""


def default_sizes() -> Literal["accelerator", "cpu"]:
    return "cpu" if jax.default_backend() == "cpu" else "accelerator"


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure training on an accelerator, beside PyTorch and beside what the device can do."""

    parts: tuple[str, ...] = tuple(PARTS)
    """What to measure."""
    sizes: Literal["accelerator", "cpu", "tiny"] = dataclasses.field(default_factory=default_sizes)
    """How large everything is; by default as the device is."""
    patience: float = 1.0
    """Times the seconds after which a part is ended."""
    anew: bool = False
    """Measure again what was measured."""
    save: Path = Path("results/benchmarks")
    """Folder to keep the numbers and tables in, in files named after the device."""


class Outcome(NamedTuple):
    """The rows of one part, and why there are no more, or nothing if they are all."""

    rows: list[Row]
    seconds: float
    ended: str = ""


Measure: TypeAlias = Callable[[str, str, float], Outcome]


# --- Processes -----------------------------------------------------------------------------------


def measure_apart(part: str, sizes: str, limit: float) -> Outcome:
    """Measures one part in a process of its own."""
    root = str(Path(__file__).resolve().parents[2])
    return collect([sys.executable, "-c", CHILD, root, part, sizes], limit)


def collect(command: Sequence[str], limit: float) -> Outcome:
    """The rows that a command prints, one JSON a line; it is ended after so many seconds."""
    environment = {
        name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
    }
    environment |= {
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # as for JAX, so that first runs compile
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch needs memory, too
    }
    start, ended = time.perf_counter(), ""
    # Errors go to a file: a pipe would be open as long as any process that this one has started.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # so that its own processes end with it
        )
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            end(process)
            out, _ = process.communicate()
            ended = f"ended at its limit of {limit:g} s"
        finally:
            end(process)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if not ended and process.returncode > 0 and lines:  # the last of a traceback
        ended = lines[-1][:300]
    elif not ended and process.returncode:
        ended = f"ended with status {process.returncode}"
    *whole, _ = out.decode().split("\n")  # behind the last line there may be half a row
    rows = latest([json.loads(row) for row in whole])
    return Outcome(rows, time.perf_counter() - start, ended)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# --- What is kept --------------------------------------------------------------------------------


def path_of(config: Config) -> Path:
    """The file of numbers, after the device, and after the sizes where they are not the usual."""
    usual = config.sizes == default_sizes()
    return machine.path_of(config.save, "accelerator" if usual else f"accelerator-{config.sizes}")


def digest_of(config: Config) -> str:
    """What tells these sizes from others."""
    return hashlib.sha256(repr(SIZES[config.sizes]).encode()).hexdigest()[:8]


def recall(path: Path, config: Config) -> Sections:
    """What was measured with the same device, versions and sizes; other results are set aside.

    Raises:
        RefusedError: if the file is not of this benchmark.
    """
    if not path.exists():
        return {}
    kept = keeping.read_json(path)
    now = json.loads(json.dumps(machine.record([], "", None)))
    try:
        device, versions = kept["machine"]["device"], kept["versions"]
        sections = {
            each["part"]: Section(**each | {"table": "\n".join(each["table"])})
            for each in kept["sections"]
        }
        sizes = [each.numbers["sizes"] for each in sections.values()]
        date = str(kept["date"])
    except (KeyError, TypeError) as error:
        raise keeping.RefusedError(
            f"save: expected what accelerator.py keeps in {path}, got other JSON"
        ) from error
    same = (device, versions) == (now["machine"]["device"], now["versions"])
    if same and set(sizes) <= {digest_of(config)} and sections.keys() <= PARTS.keys():
        return sections
    aside = path.with_name(f"{path.stem}-{date.replace(':', '')}")
    for suffix in (".json", ".md"):
        with contextlib.suppress(FileNotFoundError):
            path.with_suffix(suffix).rename(aside.with_name(f"{aside.name}{suffix}"))
    print(f"Other versions, sizes, parts or device: the earlier results are now {aside.name}.json")
    return {}


def is_whole(section: Section | None) -> bool:
    """Whether a part was measured to its end."""
    return section is not None and not section.numbers["ended"]


def in_order(sections: Mapping[str, Section]) -> list[Section]:
    """The parts in their order, with their tables: those show shares of what the first measured."""
    rates = rates_of(sections["rates"].numbers["rows"]) if "rates" in sections else {}
    told = []
    for name in filter(sections.__contains__, PARTS):
        numbers = sections[name].numbers
        lines = [f"{name}: {numbers['seconds']:.0f} s"]
        if numbers["rows"]:
            lines += PARTS[name].tell(numbers["rows"], rates)
        if numbers["ended"]:
            lines.append(f"not whole: {numbers['ended']}")
        told.append(sections[name]._replace(table="\n".join(lines)))
    return told


def markdown(sections: list[Section], load: float | None) -> str:
    """All tables."""
    parts = [machine.heading(load), *(section.table for section in sections)]
    blocks = "\n\n".join(f"```\n{part}\n```" for part in parts)
    return f"# What logistack makes of {keeping.device()}\n\n{blocks}\n"


# --- The command ---------------------------------------------------------------------------------


def run(config: Config, command: str, measure: Measure = measure_apart) -> Sections:
    """Measures what is missing, keeping each part as soon as it is there."""
    path, load = path_of(config), machine.load_now()
    sections = recall(path, config)
    print(machine.heading(load))
    for name in filter(config.parts.__contains__, PARTS):
        before = sections.get(name)
        if is_whole(before) and not config.anew:
            print(f"\nmeasured before, {sections[name].numbers['date']}:")
        else:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            outcome = measure(name, config.sizes, config.patience * PARTS[name].limit)
            numbers = {
                "date": now, "load": machine.load_now(), **outcome._asdict(),
                "sizes": digest_of(config),
            }  # fmt: skip
            new = Section(name, config.sizes, numbers, "")
            if is_whole(new) or not is_whole(before):
                sections[name] = new
            else:
                print(f"\n{name}: {outcome.ended}; what was measured before stays")
            machine.write(path, in_order(sections), command, load)
            keeping.write_whole(path.with_suffix(".md"), markdown(in_order(sections), load))
        print(
            f"\n{next(each.table for each in in_order(sections) if each.part == name)}", flush=True
        )
    return sections


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line; the status is 1 if a part is not whole."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the parts need the memory
    config = keeping.parse(Config, arguments)
    keeping.require_some(config, "parts")
    keeping.require_known("parts", config.parts, tuple(PARTS))
    keeping.require_numbers(config, "patience")
    keeping.require_folder("save", config.save)
    path = path_of(config)
    keeping.require_file("save", path)
    sections = run(config, keeping.command_line("benchmarks/accelerator.py", arguments))
    print(f"\nnumbers  {path}\ntables   {path.with_suffix('.md')}")
    broken = [name for name in config.parts if not is_whole(sections[name])]
    if broken:
        print(f"not whole: {', '.join(broken)}; the same command measures them again")
    return 1 if broken else 0


if __name__ == "__main__":
    keeping.start(main)
