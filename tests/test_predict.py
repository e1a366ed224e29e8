"""Predictions part by part are those of the whole table; dates are what pandas says they are."""

import csv
import gzip
import io
import json
import re
import sys

import numpy as np
import pandas
import pytest

from logistack.cli import main, report
from logistack.data.sources import Reading, table_of
from logistack.estimator import StackClassifier
from logistack.reporting import Model, models
from logistack.reporting.columns import column_of, frame_of
from logistack.reporting.questions import UNDECIDED, line_of

ROWS = 53
CHUNK = 7
DAY = {"year": "year", "month": "month", "day": "day", "weekday": "day_of_week", "hour": "hour"}


def make_frame():
    rng = np.random.default_rng(3)
    size = rng.normal(size=ROWS).round(3)
    days = pandas.Timestamp("2023-12-20") + pandas.to_timedelta(rng.integers(0, 40, ROWS), "D")
    return pandas.DataFrame(
        {
            "size": size,
            "count": rng.integers(0, 9, ROWS),
            "color": rng.choice(["red", "green", "ünsure"], ROWS).astype(object),
            "fresh": rng.random(ROWS) < 0.5,
            "day": days.strftime("%Y-%m-%d"),
        }
    )


@pytest.fixture(scope="module")
def model():
    frame = make_frame()
    frame.loc[[2, 3], ["count", "color"]] = [np.nan, None]
    table = table_of(frame)
    columns = [column_of(table, place) for place in range(frame.shape[1])]
    prepared = models.prepared(columns)
    inputs = prepared.fit_transform(frame_of(table, columns, range(len(columns))))
    codes = (frame["size"] > 0).astype(int).to_numpy()
    stack = StackClassifier(members=2, epochs=3, random_state=0).fit(inputs, codes)
    return Model(prepared, stack.classifier_, columns, np.array(["no", "yes"]), "label", 0.8)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model.save(folder)
    return folder


@pytest.fixture(autouse=True)
def chunk(monkeypatch):
    monkeypatch.setattr(report, "CHUNK", CHUNK)


def predicted(folder, *words):
    return main(["predict", str(folder), *map(str, words)])


def compare(text, model, frame):
    """Compares what the command wrote with `predict` of the whole frame."""
    heads, *rows = csv.reader(io.StringIO(text))
    assert heads == ["row", "label", "probability", "p(no)", "p(yes)", "set", "disagreement",
                     "outside"]  # fmt: skip
    assert [int(row[0]) for row in rows] == list(range(1, len(frame) + 1))
    whole = model.predict(table_of(frame))
    assert [row[1] for row in rows] == whole["label"].tolist()
    shares = np.array([row[2:5] for row in rows], float)
    expected = np.column_stack([whole["probability"], whole["probabilities"]])
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    nats = np.array([row[6] for row in rows], float)
    np.testing.assert_allclose(nats, whole["disagreement"], rtol=1e-3, atol=1e-7)
    for place, names in ((5, ["no", "yes"]), (7, [column.name for column in model.used])):
        key = "set" if place == 5 else "outside"
        expected = ["|".join(np.array(names, object)[own]) for own in np.asarray(whole[key], bool)]
        assert [row[place] for row in rows] == expected


@pytest.mark.parametrize("kind", ["csv", "gzip", "stdin", "parquet", "feather"])
@pytest.mark.parametrize("rows", [1, CHUNK, 3 * CHUNK, ROWS])
def test_part_by_part_is_the_same_as_at_once(
    model, folder, tmp_path, monkeypatch, capsys, kind, rows
):
    frame = make_frame()[::-1][:rows].reset_index(drop=True)
    frame.loc[0, "size"] = 99.0
    path = tmp_path / "new"
    content = frame.to_csv(index=False).encode()
    if kind in ("parquet", "feather"):
        getattr(frame, f"to_{kind}")(path)
    elif kind == "stdin":
        pipe = io.BufferedReader(OnlyForward(content))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        path = "-"
    else:
        path.write_bytes(gzip.compress(content) if kind == "gzip" else content)
    assert predicted(folder, path) == 0
    said = capsys.readouterr()
    compare(said.out, model, frame)
    assert re.match(rf"{rows} rows predicted; \d+ have values unlike all", said.err)
    assert predicted(folder, path, "--out", tmp_path / "out.csv") == (2 if kind == "stdin" else 0)
    if kind != "stdin":
        assert (tmp_path / "out.csv").read_text() == said.out


class OnlyForward(io.RawIOBase):
    """A pipe, of which each reading gives a few bytes."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        part = self.content.read(min(5, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("size", "heavy", "expected numbers, as the model has learned from, got 'heavy' in row 48"),
        ("size", "1e999", "expected numbers, as the model has learned from, got '1e999' in row 48"),
        ("count", "true", "expected numbers, as the model has learned from, got 'true' in row 48"),
        ("fresh", "2", "expected true or false, as the model has learned from, got '2' in row 48"),
        ("day", "1/2/24", "expected dates such as 2024-02-01, .*, got '1/2/24' in row 48"),
    ],
)
def test_a_late_cell_of_another_kind_is_refused_and_nothing_written(
    folder, tmp_path, capsys, column, cell, words, old
):
    frame = make_frame().astype(object)
    frame.loc[47, column] = cell
    frame.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    if old:
        out.write_text(old)
    assert predicted(folder, tmp_path / "new.csv", "--out", out) == 2
    assert re.search(f"column '{column}': {words}", capsys.readouterr().err)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({"new.csv", "out.csv"} if old else {"new.csv"})
    assert not old or out.read_text() == old


def test_an_interruption_leaves_the_old_file(folder, tmp_path, monkeypatch):
    make_frame().to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "out.csv").write_text("old")
    predict, calls = Model.predict, []

    def interrupted(self, table):
        calls.append(len(table.columns[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, table)

    monkeypatch.setattr(Model, "predict", interrupted)
    assert predicted(folder, tmp_path / "new.csv", "--out", tmp_path / "out.csv") == 130
    assert calls == [CHUNK] * 3
    assert (tmp_path / "out.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_data_are_not_written_over(folder, tmp_path, capsys):
    make_frame().to_csv(tmp_path / "new.csv", index=False)
    assert predicted(folder, tmp_path / "new.csv", "--out", tmp_path / "." / "new.csv") == 2
    assert "--out: expected another file than the data's" in capsys.readouterr().err


def test_what_was_never_seen_is_predicted_and_told(model):
    frame = make_frame()[:6]
    known = model.predict(table_of(frame))["outside"]
    assert not known.any()
    frame = frame.astype(object)
    frame.loc[0, "size"] = None  # never missing in what was learned from
    frame.loc[1, "color"] = "pink"
    frame.loc[2, "color"] = None
    frame.loc[3, "day"] = None
    frame.loc[4, "size"] = -99.0
    frame.loc[5, "day"] = "2025-12-21"
    found = model.predict(table_of(frame))
    assert np.isfinite(found["probabilities"]).all()
    expected = np.zeros((6, 5), bool)
    expected[[1, 4, 5], [2, 0, 4]] = True
    np.testing.assert_array_equal(found["outside"], expected)
    frame.loc[0, "size"] = make_frame()["size"].median()
    np.testing.assert_array_equal(
        model.predict(table_of(frame))["probabilities"], found["probabilities"]
    )


STAMPS = pandas.to_datetime(
    ["2023-12-31 23:45:30", "2024-02-29 00:00:00", "1999-01-01 12:00:00", None, "2024-07-04 06:15"],
    format="mixed",
)


def polars_stamps():
    return [None if stamp is pandas.NaT else stamp.to_pydatetime() for stamp in STAMPS]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pandas.DataFrame({"when": STAMPS}),
        lambda: pandas.DataFrame({"when": STAMPS.tz_localize("Europe/Berlin")}),
        lambda: pandas.DataFrame({"when": STAMPS.strftime("%Y-%m-%dT%H:%M:%SZ")}),
        lambda: pandas.DataFrame({"when": STAMPS.strftime("%Y-%m-%d %H:%M:%S.000 +0200")}),
        lambda: pytest.importorskip("polars").DataFrame({"when": polars_stamps()}),
    ],
)
def test_the_parts_of_dates_are_those_of_pandas(make):
    table = table_of(make())
    column = column_of(table, 0)
    assert (column.kind, column.missing, column.distinct) == ("date", 1, 4)
    assert (column.low, column.high) == ("1999-01-01", "2024-07-04")
    frame = frame_of(table, [column], [0])
    assert frame.columns.tolist() == [f"when: {part}" for part in DAY]
    for part, name in DAY.items():
        expected = getattr(STAMPS, name).to_numpy(float)
        if part == "weekday":
            expected = expected + 1
        if part == "hour":
            expected = expected + STAMPS.minute / 60 + STAMPS.second / 3600
        np.testing.assert_allclose(frame[f"when: {part}"], expected, rtol=1e-15)


def parts_of(*cells):
    return column_of(table_of(pandas.DataFrame({"x": cells})), 0)


def test_parts_that_are_the_same_in_all_dates_are_not_learned_from():
    assert parts_of("2024-01-05", "2024-03-05").features == ["x: month", "x: weekday"]
    assert parts_of("2024-01-05T10:30", "2024-01-05T12:00").features == ["x: hour"]
    alone = parts_of("2024-01-05", "", "2024-01-05")  # that it is missing may tell
    assert alone.features == ["x: year"]
    assert alone.holds == "dates from 2024-01-05 to 2024-01-05, as year"


def test_a_part_may_not_have_the_name_of_another_column():
    days = ["2024-01-05", "2024-03-05"]
    table = table_of(pandas.DataFrame({"x": days, "x: month": [1, 2]}))
    columns = [column_of(table, place) for place in (0, 1)]
    with pytest.raises(ValueError, match="expected no column 'x: month' beside the part of a date"):
        frame_of(table, columns, [0, 1])


def test_the_certificate_says_that_dates_take_no_part():
    frame = make_frame().assign(label=np.arange(ROWS) % 2)
    table = table_of(frame[["size", "day", "label"]])
    columns = [column_of(table, place) for place in (0, 1)]
    none = np.array([], int)
    line = line_of(table, 2, columns, [0, 1], none, Reading())
    assert line.features == json.loads(json.dumps(line.asked))["features"] == ["size"]
    assert line.words.endswith("\nColumns of dates are left out of this: day.")
    assert line.dates == ["day"]
    alone = line_of(table, 2, columns[1:], [1], none, Reading())
    assert alone.answer == UNDECIDED
    assert "no columns but dates" in alone.words
