"""The benchmark of an accelerator runs, tiny and on a CPU, and goes on where it was ended."""

import json
import sys
import time
from pathlib import Path

import jax
import pytest

from experiments import keeping
from experiments.benchmarks import accelerator, machine, startup
from experiments.benchmarks import accelerator_parts as parts
from experiments.benchmarks.accelerator import Config, Outcome, collect

TINY = parts.SIZES["tiny"]


@pytest.fixture(scope="module")
def rows():
    """The rows of a part, as the JSON has them, each part measured once."""
    found = {}

    def of(name):
        if name not in found:
            measured = list(parts.PARTS[name].measure(TINY))
            found[name] = json.loads(json.dumps(parts.latest(measured)))
        return found[name]

    return of


def column(table, name):
    return [row[name] for row in table]


def test_rates_are_of_each_dtype_and_of_a_copy(rows):
    measured = rows("rates")
    assert [(row["dtype"], row["way"]) for row in measured] == [
        ("bfloat16", "default"), ("float32", "default"), ("float32", "highest"), ("", ""),
    ]  # fmt: skip
    assert column(measured[:3], "operations") == [2 * parts.CHAINED * TINY.matrix**3] * 3
    assert measured[3]["bytes"] == 2 * TINY.copied
    rates = parts.rates_of(measured)
    assert set(rates) == {"bfloat16", "float32", "copy"}
    assert min(rates.values()) > 0


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("training-small", [("logistack", "float32"), ("PyTorch eager", "float32"),
                            ("PyTorch CUDA graph", "float32")]),
        ("training-medium", []),
        ("precision", [("logistack", "float32"), ("logistack", "bfloat16")]),
        ("population-float32", [("logistack", "float32"), ("PyTorch baddbmm", "float32")] * 2),
        ("population-bfloat16", [("logistack", "bfloat16")] * 2),
        ("depth", [("logistack", "float32"), ("with remat", "float32")]),
    ],
)  # fmt: skip
def test_every_run_is_timed_or_says_why_not(rows, name, ways):
    measured = rows(name)
    assert [(row["way"], row["dtype"]) for row in measured] == ways
    for row in measured:
        assert min(row[each] for each in ("steps", "samples", "operations", "bytes")) > 0
        if row["way"].startswith("PyTorch") and "error" in row:
            assert "PyTorch" in row["error"]
        else:
            assert len(row["seconds_of_rounds"]) == TINY.rounds
            assert min(row["seconds_of_rounds"]) > 0
            assert row["first_run_seconds"] > 0


def test_the_programs_take_memory_and_are_exported_for_accelerators(rows):
    memory, exported = rows("memory"), rows("export")
    assert column(memory, "what") == column(exported, "what") == list(parts.programs(TINY))
    assert min(column(memory, "argument_bytes")) > 0
    assert all(row["platforms"] == ["cuda", "tpu"] and row["bytes"] > 0 for row in exported)
    assert {"20 layers of 4, batch 4, with remat", "3 × 6-5-3, batch 4"} <= set(
        parts.programs(TINY)
    )


def test_a_fused_epoch_is_timed_beside_its_steps_or_the_device_is_named(rows):
    measured = rows("fused")
    ways = [(way, dtype) for dtype in parts.DTYPES for way in ("logistack", "fused")]
    assert sorted(
        map(tuple, zip(column(measured, "way"), column(measured, "dtype"), strict=True))
    ) == (sorted(ways))
    for row in measured:
        assert row["what"] == "2 × 64-32-10, batch 64"
        if "error" in row:
            assert row["way"] == "fused"
            assert "device: expected an NVIDIA GPU" in row["error"]
        else:
            assert len(row["seconds_of_rounds"]) == TINY.rounds


def test_startup_is_told(monkeypatch):
    monkeypatch.setattr(startup, "end_of", lambda *_: time.time())
    measured = list(parts.PARTS["startup"].measure(TINY))
    assert "first epoch, cache filled" in column(measured, "what")
    assert "expected beyond jax" in "\n".join(parts.tell_startup(measured, {}))


def test_rates_are_shares_of_what_the_device_reaches_in_the_same_dtype():
    head = {"what": "net", "steps": 10, "samples": 100, "operations": 4e9, "bytes": 1e9}
    ours = {"way": "logistack", "dtype": "float32", "first_run_seconds": 3.0}
    other = {"way": "logistack", "dtype": "bfloat16", "first_run_seconds": 3.0}
    table = parts.tell_runs(
        [
            head | ours | {"seconds_of_rounds": [1.0, 2.0, 4.0]},
            head | other | {"seconds_of_rounds": [2.0, 1.0, 16.0]},
            head | {"way": "PyTorch", "dtype": "float32", "error": "no room"},
        ],
        {"float32": 8e9, "bfloat16": 40e9, "copy": 1e9},
    )
    first, second, third = (line.split() for line in table[1:])
    assert first[3:] == ["200,000.0", "50", "3.00", "25.0%", "50.0%"]
    assert second[5:] == ["3.00", "2.00", "(0.50", "to", "4.00)", "5.0%", "50.0%"]
    assert third[3:] == ["did", "not", "run:", "no", "room"]


def test_a_way_that_breaks_leaves_the_others_and_is_not_tried_again(monkeypatch):
    def broken(*_, **__):
        raise MemoryError("no room\nat all")

    monkeypatch.setattr(parts, "why_left_out", lambda _: None)
    monkeypatch.setattr(parts.torch_members, "prepare", broken)
    ours = dict(parts.in_turns({"bad": broken, "good": lambda: lambda: None}, TINY))
    assert ours["bad"] == {"error": "MemoryError: no room"}
    assert len(ours["good"]["seconds_of_rounds"]) == TINY.rounds
    measured = parts.latest(list(parts.measure_population(TINY, "float32")))
    assert column(measured[1::2], "error") == ["MemoryError: no room"] * 2
    assert all("seconds_of_rounds" in row for row in measured[::2])


def test_a_run_is_told_when_it_is_prepared_and_again_when_all_are_timed():
    rows = list(parts.in_turns({"a": lambda: lambda: None, "b": lambda: lambda: None}, TINY))
    assert [(name, len(row["seconds_of_rounds"])) for name, row in rows] == [
        ("a", 1), ("b", 1), ("a", TINY.rounds), ("b", TINY.rounds),
    ]  # fmt: skip
    told = [{"what": name, **row} for name, row in rows]
    assert parts.latest(told) == told[2:]


def test_a_run_that_ends_early_is_not_timed():
    work = TINY.population._replace(epochs=2)
    result = parts.training.prepare("logistack", work)()
    rows = dict(parts.in_turns({"ours": lambda: lambda: result}, TINY, epochs=2))
    assert "seconds_of_rounds" in rows["ours"]
    rows = dict(parts.in_turns({"ours": lambda: lambda: result}, TINY, epochs=3))
    assert rows["ours"] == {"error": "ValueError: stopped after 2 of 3 epochs"}


def test_the_limits_are_together_below_eight_minutes():
    assert sum(part.limit for part in parts.PARTS.values()) <= 470  # the rest is to start


def test_a_part_has_a_process_of_its_own():
    outcome = accelerator.measure_apart("rates", "tiny", 300)
    assert outcome.ended == ""
    assert len(outcome.rows) == 4


@pytest.mark.parametrize(
    ("code", "limit", "ended"),
    [
        ("raise MemoryError('no room')", 60, "MemoryError: no room"),
        ("os.kill(os.getpid(), 9)", 60, "ended with status -9"),
        ("print('{\"ha', end='', flush=True); time.sleep(600)", 2, "ended at its limit of 2 s"),
    ],
)
def test_what_was_told_before_the_end_is_there(code, limit, ended):
    start = "import os, time\nprint('{\"row\": 1}', flush=True)\n"
    outcome = collect([sys.executable, "-c", start + code], limit)
    assert (outcome.rows, outcome.ended) == ([{"row": 1}], ended)


STARTING = """
import os, subprocess, sys
other = subprocess.Popen(["sleep", "600"], stdout=sys.stderr)
print('{"pid": %d}' % other.pid)
"""


def test_what_a_part_has_started_ends_with_it_and_is_not_waited_for():
    outcome = collect([sys.executable, "-c", STARTING], 300)
    assert outcome.ended == ""
    assert outcome.seconds < 300
    end, pid = time.monotonic() + 60, outcome.rows[0]["pid"]
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# --- Going on ------------------------------------------------------------------------------------

ROWS = {"rates": [], "export": [{"what": "net", "platforms": ["tpu"], "bytes": 1, "seconds": 1.0}]}
CHOSEN = ("rates", "export")


class Measuring:
    """Measures nothing, but counts; what is `broken` ends early."""

    def __init__(self, *broken):
        self.broken, self.done = broken, []

    def __call__(self, name, sizes, limit):
        self.done.append((name, sizes, limit))
        return Outcome(ROWS[name], 1.0, "ValueError: broken" if name in self.broken else "")

    @property
    def names(self):
        return [name for name, *_ in self.done]


@pytest.fixture
def go(tmp_path, monkeypatch):
    def go(measuring, **options):
        config = Config(**{"parts": CHOSEN, "sizes": "tiny", "save": tmp_path} | options)
        return accelerator.run(config, "the command", measuring)

    return go


def kept_in(folder):
    (path,) = folder.glob("accelerator-tiny-*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_nothing_is_measured_twice_and_what_broke_is_measured_again(go, tmp_path, capsys):
    first = Measuring("rates")
    sections = go(first, patience=2.0)
    assert first.done == [("rates", "tiny", 40), ("export", "tiny", 30)]
    assert not accelerator.is_whole(sections["rates"])
    said = capsys.readouterr().out
    assert "not whole: ValueError: broken" in said
    assert "cuda" not in said
    second, third = Measuring(), Measuring()
    go(second)
    assert second.names == ["rates"]
    assert all(map(accelerator.is_whole, go(third).values()))
    assert third.names == []
    kept = kept_in(tmp_path)
    assert column(kept["sections"], "part") == list(CHOSEN)
    assert kept["machine"]["device"] == jax.devices()[0].device_kind
    assert "export: 1 s" in capsys.readouterr().out
    (told,) = tmp_path.glob("*.md")
    assert "tpu" in told.read_text(encoding="utf-8")


def test_each_part_is_kept_before_the_next_begins(go, tmp_path):
    def interrupted(name, *_):
        if name == "export":
            raise KeyboardInterrupt
        return Outcome(ROWS[name], 1.0)

    with pytest.raises(KeyboardInterrupt):
        go(interrupted)
    assert column(kept_in(tmp_path)["sections"], "part") == ["rates"]
    rest = Measuring()
    go(rest)
    assert rest.names == ["export"]


def test_a_part_measured_anew_replaces_the_other_only_if_it_is_whole(go, tmp_path, capsys):
    go(Measuring())
    again = Measuring("export")
    sections = go(again, anew=True, parts=("export",))
    assert again.names == ["export"]
    assert accelerator.is_whole(sections["export"])
    assert "what was measured before stays" in capsys.readouterr().out
    assert column(kept_in(tmp_path)["sections"], "part") == list(CHOSEN)


@pytest.mark.parametrize("changed", ["device", "versions", "parts", "sizes"])
def test_what_other_devices_versions_parts_and_sizes_gave_is_set_aside(
    go, tmp_path, monkeypatch, changed
):
    go(Measuring())
    (path,) = tmp_path.glob("*.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    if changed == "device":
        kept["machine"]["device"] = "another"
    elif changed == "versions":
        kept["versions"]["jax"] = "0.1"
    elif changed == "parts":
        kept["sections"][0]["part"] = "an older one"
    else:
        monkeypatch.setitem(parts.SIZES, "tiny", TINY._replace(rounds=3))
    path.write_text(json.dumps(kept), encoding="utf-8")
    second = Measuring()
    go(second)
    assert second.names == list(CHOSEN)
    (aside,) = set(tmp_path.glob("*.json")) - {path}
    assert json.loads(aside.read_text(encoding="utf-8")) == kept
    assert len(list(tmp_path.glob("*.md"))) == 2


def test_another_file_is_refused_and_stays(go, tmp_path):
    path = accelerator.path_of(Config(sizes="tiny", save=tmp_path))
    path.write_text('{"machine": 1}')
    with pytest.raises(keeping.RefusedError, match=r"^save: expected what accelerator\.py keeps"):
        go(Measuring())
    assert path.read_text() == '{"machine": 1}'


def test_files_are_named_after_the_sizes_where_those_are_not_the_device_s(tmp_path):
    usual, tiny = (
        accelerator.path_of(Config(save=tmp_path, **own)) for own in ({}, {"sizes": "tiny"})
    )
    assert usual == machine.path_of(tmp_path, "accelerator")
    assert tiny == machine.path_of(tmp_path, "accelerator-tiny")


@pytest.mark.parametrize(("broken", "status"), [((), 0), (("export",), 1)])
def test_the_command_ends_with_what_broke(monkeypatch, tmp_path, capsys, broken, status):
    monkeypatch.setattr(accelerator.run, "__defaults__", (Measuring(*broken),))
    words = f"--parts rates export --sizes tiny --save {tmp_path}"
    assert accelerator.main(words.split()) == status
    assert ("not whole: export" in capsys.readouterr().out) == bool(broken)
    assert kept_in(tmp_path)["command"].endswith(words)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--parts speed", "parts: expected some of rates, training-small"),
        ("--parts", "parts: expected at least one, got none"),
        ("--patience 0", "patience: expected finite numbers above 0, got 0.0"),
        ("--sizes huge", "invalid choice 'huge'"),
        ("--save /dev/null/new", "save: expected a folder to write to"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(accelerator, "run", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        accelerator.main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(wrong)
