"""A report: what it says of a table is what scikit-learn, pandas and counting by hand say."""

import concurrent.futures
import contextlib
import dataclasses
import json
import re

import numpy as np
import pandas
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import logistack as ls
from logistack import certify, separability
from logistack.cli import main
from logistack.data import table as tables
from logistack.data.sources import table_of
from logistack.reporting import Model, evaluation, models, sentences
from logistack.reporting.columns import column_of, columns_of, frame_of, number, values_of
from logistack.reporting.drift import moved
from logistack.reporting.evaluation import Estimate
from logistack.reporting.making import _drift, _Other, _read
from logistack.reporting.models import BOOSTING, LINE, STACK
from logistack.reporting.questions import gaps, leaks_of, line_of, separates
from logistack.reporting.sides import Sides
from logistack.reporting.unfinished import Unfinished
from logistack.separability import MultinomialSeparator

ROWS = 90
LONG = 1e6
"""Seconds, so that what is found does not depend on how fast it is."""


def make_table():
    rng = np.random.default_rng(0)
    size, weight = rng.normal(size=(2, ROWS))
    color = rng.choice(["red", "green", "blue"], ROWS).astype(object)
    label = np.where(size + (color == "red") + rng.normal(size=ROWS) / 2 > 0.3, "yes", "no")
    frame = pandas.DataFrame(
        {
            "size": size.round(3), "weight": weight.round(3), "color": color, "<b>bold</b>": 1.0,
            "name": [f"row {k}" for k in range(ROWS)], "fresh": rng.random(ROWS) < 0.5,
            "day": "2024-01-02", "label": label,
        }
    )  # fmt: skip
    frame.loc[3, "day"] = "2024-02-03"
    frame.loc[[4, 5], "color"] = None
    frame.loc[[6, 7, 8], "size"] = np.nan
    frame.loc[10] = frame.loc[11]  # a copy, with another label and another name
    frame.loc[10, ["label", "name"]] = ["yes" if frame.loc[11, "label"] == "no" else "no", "copy"]
    frame.loc[20, "label"] = None
    return frame


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.csv"
    make_table().to_csv(path, index=False)
    return ls.report(path, "label", quick=True, time_limit=LONG)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    made.save(folder)
    return folder


class Fragile(concurrent.futures.Executor):
    """Runs what it is given at once, and breaks after some of it."""

    def __init__(self, lives):
        self.lives, self.ran = lives, 0

    def submit(self, function, /, *arguments, **options):
        if self.ran == self.lives:
            raise RuntimeError("broken")
        self.ran += 1
        future = concurrent.futures.Future()
        future.set_result(function(*arguments, **options))
        return future


@pytest.mark.parametrize("lives", [2, 9])
def test_an_executor_gets_the_folds_and_what_it_leaves_is_evaluated_here(made, lives):
    executor = Fragile(lives)
    told = contextlib.nullcontext()
    if lives < 5:
        told = pytest.warns(RuntimeWarning, match=r"did not finish 3 of 5 blocks")
    with told:
        other = ls.report(made.source, "label", quick=True, time_limit=LONG, executor=executor)
    assert executor.ran == min(lives, 5)
    assert other.to_json() == made.to_json()


@pytest.mark.parametrize(
    ("cells", "kind", "why"),
    [
        (["1", "2.5", "", "-3e2"], "number", ""),
        (["true", "False", "", "TRUE"], "boolean", ""),
        (["1", "inf", "", "2"], "left out", "it has numbers beyond"),
        (["a", "b", "", "a"], "category", ""),
        (["1", "2", "x", "x"], "category", ""),
        (["a", "a", "", "NA"], "category", ""),  # that it is missing may tell
        (["7", "7", "7", "7"], "left out", "it is the same in every row"),
        (["7", "7.0", "7e0", "7"], "left out", "it is the same in every row"),
        (["true", "True", "TRUE", "true"], "left out", "it is the same in every row"),
        (["", "NA", "?", ""], "left out", "it has no value"),
        (["a", "b", "c", "d"], "left out", "it has a different text in every row"),
        (["2024-01-02", "2024-01-02", "1999-12-31", ""], "date", ""),
        (["2024-01-02", "1.2.24", "31/12/1999", ""], "left out", "it has dates that may be"),
        (["2024-02-30", "2024-02-30", "2024-01-01", ""], "left out", "it has dates that may be"),
        (
            [str(k) + "x" for k in range(60)] * 2,
            "left out",
            "it has 60 different texts, such as '0x'",
        ),
        (
            ["1,234", "567", "", "1,234"],
            "left out",
            "it has numbers such as 1,234: say --decimal ,",
        ),
        (["1,5", "2,5", "3,5", "4,5"], "left out", "it has numbers such as 1,5: say --decimal ,"),
        (["1,2,3", "1,5", "", "1,5"], "category", ""),  # a list
    ],
)
def test_columns_are_what_their_cells_tell(cells, kind, why):
    column = column_of(table_of(pandas.DataFrame({"x": cells})), 0)
    assert column.kind == kind
    assert column.why.startswith(why)
    assert bool(column.why) == bool(why)


def test_a_text_for_nothing_is_a_value_if_that_is_said(tmp_path):
    frame = make_table()[["size", "label"]].fillna({"label": "None"})
    frame["many"] = np.resize(["none", "small", "big"], ROWS)
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    for data in (path, frame):
        asked = _read(data, "label", None, None, (), {})
        column = asked.columns[1]
        assert (column.missing, column.levels) == (30, ("big", "small"))
        assert column.holds == "big, small; missing where it says none"
        assert (asked.profile.unlabeled, asked.profile.marks) == ([21], ["None"])
        asked = _read(data, "label", None, None, (), {"missing": False})
        column = asked.columns[1]
        assert (column.missing, column.levels) == (0, ("big", "none", "small"))
        assert (asked.profile.unlabeled, asked.profile.rare) == ([], {"None": [21]})
        table = table_of(data)  # as the model reads it, without saying so again
        assert values_of(table, column, 2).tolist() == frame["many"].tolist()


@pytest.mark.parametrize(
    ("value", "text"),
    [(2007, "2007"), (6300.0, "6300"), (1106000, "1,106,000"), (-118.2437, "-118.244"),
     (0.000109, "0.000109"), (3386034.5, "3.39e+06"), (1e-9, "1e-09"), (0, "0")],
)  # fmt: skip
def test_numbers_are_written_as_readers_do(value, text):
    assert number(value) == text


def test_a_zero_has_no_sign():
    assert sentences.interval(Estimate(-0.0001, -0.0004, 1e-9)) == "0.000 (0.000 to 0.000)"
    assert sentences.interval(Estimate(-0.25, -1, 0.5)) == "−0.250 (−1.000 to 0.500)"


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_those_of_scikit_learn(classes):
    rng = np.random.default_rng(1)
    rows = rng.dirichlet(np.ones(classes), 50)
    codes = rng.integers(0, classes, 50)
    called, given = rows.argmax(axis=1), rows if classes > 2 else rows[:, 1]
    expected = {
        "accuracy": metrics.accuracy_score(codes, called),
        "balanced accuracy": metrics.balanced_accuracy_score(codes, called),
        "AUC": metrics.roc_auc_score(codes, given, multi_class="ovr"),
        "log loss": metrics.log_loss(codes, rows),
        # scikit-learn has that of several classes from 1.7 on.
        "Brier": metrics.brier_score_loss(codes, given)
        if classes == 2
        else ((rows - np.eye(classes)[codes]) ** 2).sum(axis=1).mean(),
    }
    assert evaluation.scored(codes, rows) == pytest.approx(expected, rel=1e-12)


def test_a_line_is_tuned_and_fitted_as_a_grid_search_does():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(120, 6))
    labels = (inputs[:, 0] + rng.normal(size=120) > 0).astype(int)
    inner = list(StratifiedKFold(3).split(inputs[:80], labels[:80]))
    sides = [(range(80), range(80, 120)), *inner]
    parts = [(inputs[train], labels[train], inputs[test], labels[test]) for train, test in sides]
    found = evaluation._tuned(LINE, parts, 2, models.effort_for(120, 6, quick=True), 0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
        {"logisticregression__C": models.STRENGTHS}, scoring="neg_log_loss", cv=inner,
    ).fit(inputs[:80], labels[:80])  # fmt: skip
    assert found.chosen == search.best_index_
    np.testing.assert_allclose(
        found.rows[found.chosen], search.predict_proba(inputs[80:]), rtol=1e-9
    )


def test_a_group_is_never_on_both_sides():
    rng = np.random.default_rng(2)
    groups, codes = rng.integers(0, 20, 200), rng.integers(0, 2, 200)
    for train, test in Sides(groups=groups).splits(codes, 5, 0):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(200))
    with pytest.raises(ValueError, match=r"group: expected at least 5 groups, got 3"):
        Sides(groups=groups % 3).splits(codes, 5, 0)
    with pytest.raises(ValueError, match=r"group: expected labels to vary within more than one"):
        Sides(groups=np.r_[np.arange(9), np.full(9, 9)]).splits(np.repeat([0, 1], 9), 2, 0)


def test_what_is_held_out_is_later_than_what_is_learned_from():
    rng = np.random.default_rng(3)
    times, codes = rng.integers(0, 40, 200), rng.integers(0, 3, 200)
    splits = Sides(times=times).splits(codes, 5, 0)
    assert len(splits) == 5
    for train, test in splits:
        assert times[train].max() < times[test].min()
    held = np.concatenate([test for _, test in splits])
    assert len(held) == len(set(held)) > 150
    late = np.where(times > 25, codes, 0)  # of the others there is none before
    assert 1 <= len(Sides(times=times).splits(late, 5, 0)) < 5
    with pytest.raises(ValueError, match=r"time: expected two rows of every label before"):
        Sides(times=times).splits((times > 38).astype(int), 5, 0)


@pytest.mark.parametrize(
    "times",
    [
        pandas.date_range("2023-12-30", periods=ROWS)[::-1].strftime("%Y-%m-%d"),
        [f"2024-01-01T{hour % 24:02}:00:00+0{hour % 3}:00" for hour in range(ROWS)],
        np.arange(ROWS)[::-1] / 7,
    ],
)
def test_times_are_in_the_order_of_pandas(times):
    asked = _read(make_table().assign(when=times), "label", None, "when", (), {})
    kept = make_table()["label"].notna().to_numpy()
    own = pandas.Series(times)[kept]
    if own.dtype != float:
        own = pandas.to_datetime(own, utc=True)
    np.testing.assert_array_equal(asked.rows.sides.times, own.rank(method="dense") - 1)
    assert "when" not in asked.rows.frame


def test_an_index_that_was_saved_is_left_out():
    frame = make_table().dropna(subset="label").reset_index()  # without one of the numbers
    for numbers in (frame["index"] + 1, -frame["index"]):
        table = _read(frame.assign(index=numbers), "label", None, None, (), {})
        assert {own.name: own.why for own in table.columns}["index"] == ""
    whole = make_table().reset_index()  # where the label is missing there is a number, too
    for numbers in (whole["index"] + 1, -whole["index"]):
        asked = _read(whole.assign(index=numbers), "label", None, None, (), {})
        assert {own.name: own.why for own in asked.columns}["index"] == "it numbers the rows"


def test_a_stack_that_is_no_better_than_one_label_is_told(made):
    counts = made.profile.classes
    most = max(counts.values()) / made.profile.rows
    assert sentences.most_frequent(made) == pytest.approx(most)
    for low, told in ((most - 0.01, True), (most + 0.01, False), (np.nan, True)):
        scores = made.evaluation.estimates[STACK]
        own = scores | {"accuracy": Estimate(0.9, low, 1.0)}
        estimates = made.evaluation.estimates | {STACK: own}
        found = made.evaluation._replace(estimates=estimates)
        said = dataclasses.replace(made, evaluation=found).doubts
        assert any("the most frequent one is not shown" in text for text in said) is told


def test_names_do_not_break_the_tables_and_figures(made):
    frame = make_table()[["size", "weight", "label"]].dropna()
    frame.columns = ["size|of\nall", r"$\foo$", "label"]
    frame["label"] = frame["label"].replace("yes", r"$\bar|$")
    said = ls.report(frame, "label", quick=True, time_limit=0)
    assert r"| size\|of all | numbers from" in said.to_markdown()
    assert said.to_html().count("<svg") >= 5


def test_columns_that_drift_are_those_that_scipy_finds():
    rng = np.random.default_rng(4)
    before = pandas.DataFrame({"same": rng.normal(size=500), "moved": rng.normal(size=500)})
    after = pandas.DataFrame({"same": rng.normal(size=300), "moved": rng.normal(size=300) + 0.5})
    before["color"] = rng.choice(["red", "blue"], 500).astype(object)
    after["color"] = rng.choice(["red", "green"], 300, p=[0.1, 0.9]).astype(object)
    before["gaps"] = after["gaps"] = 1.0
    after.loc[:150, "gaps"] = np.nan
    found = {own.name: own for own in moved(before, after)}
    assert list(found) == ["color", "gaps", "moved"]  # the farthest first
    test = stats.ks_2samp(before["moved"], after["moved"], method="asymp")
    assert found["moved"].distance == test.statistic
    assert found["moved"].p == pytest.approx(4 * test.pvalue)
    shares = [own["color"].value_counts(normalize=True) for own in (before, after)]
    distance = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    assert found["color"].distance == pytest.approx(distance)
    assert moved(before, before) == []


def test_a_column_with_the_values_of_another_is_left_out():
    frame = pandas.DataFrame({
        "a": [1.0, np.nan, 3.0, 1.0], "b": ["1", "", "3.0", "1e0"], "c": [1.0, 1.0, 3.0, np.nan],
        "d": ["x", "y", None, "x"], "e": ["x", "y", "", "x"], "f": ["x", "x", "y", ""],
        "g": [1.0, 3.0, np.nan, 3.0],
    })  # fmt: skip
    found = columns_of(table_of(frame), range(7))
    why = "it has the same value as {} in every row"
    assert {own.name: own.why for own in found if not own.used} == {
        "b": why.format("a"), "e": why.format("d"),
    }  # fmt: skip


def test_preparation_learns_from_the_rows_it_is_given_alone():
    table = table_of(make_table())
    columns = [column_of(table, place) for place in range(7)]
    frame = frame_of(table, columns, range(7))
    first = models.prepared(columns).fit(frame[:50])
    other = models.prepared(columns).fit(frame[:50])
    frame.iloc[50:, 0] = 1e9
    np.testing.assert_array_equal(first.transform(frame), other.transform(frame))
    names = ["size", "weight", "fresh", "day: month", "day: day", "day: weekday"]
    names += ["missingindicator_size", "color_blue", "color_green", "color_red"]
    assert first.get_feature_names_out().tolist() == names
    assert np.nanmedian(frame["size"][:50]) == first.transform(frame)[6, 0]
    again = models.prepared_by(columns, models.medians_of(first))
    np.testing.assert_array_equal(again.transform(frame), first.transform(frame))


def test_what_is_said_of_the_data_is_counted(made):
    profile, frame = made.profile, make_table()
    assert profile.unlabeled == [21]
    assert profile.classes == frame["label"].dropna().value_counts().to_dict()
    assert profile.contradictions == [[11, 12]]
    assert profile.unavoidable == 1
    assert profile.duplicates == 0
    why = {column.name: column.why for column in profile.columns if column.why}
    assert list(why) == ["<b>bold</b>", "name"]


def test_a_column_that_gives_the_label_away_is_certified():
    frame = make_table()[["size", "label"]].dropna()
    frame["leak"] = np.where(frame["label"] == "yes", 3.0, 1.0) + frame["size"] / 10
    report = ls.report(frame, "label", quick=True, time_limit=0)
    assert report.line.leaks == ["leak"]
    assert any("leak" in doubt for doubt in report.doubts)
    assert report.line.answer == "a line is enough"
    assert report.line.kind == "complete"


def day(k):
    return str(np.datetime64("2024-01-01") + np.timedelta64(k, "D"))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([k // 30 for k in range(60)], True),
        ([(k // 30) ^ (k == 59) for k in range(60)], False),
        ([k // 30 if k % 5 else None for k in range(60)], True),  # wherever it has a value
        ([k if k < 30 else None for k in range(60)], True),  # that it is missing tells
        ([k if k % 10 == 0 else None for k in range(60)], False),  # too few to say so
        (["a" if k < 30 else "bc"[k % 2] for k in range(60)], True),
        (["a" if k < 31 else "bc"[k % 2] for k in range(60)], False),
        ([day(300 + k) for k in range(60)], True),  # a later day is another label
        ([day(3 * k % 59) for k in range(60)], False),
        ([day(k % 30 * 7 + (k >= 30) * 5) for k in range(60)], True),  # one is of Saturdays
        ([f"2024-01-{k % 7 + 1:02}T{k // 30 + 8:02}:00" for k in range(60)], True),
    ],
)
def test_a_column_that_separates_alone_is_found(values, found):
    frame = pandas.DataFrame({"x": values, "label": [k // 30 for k in range(60)]})
    frame["other"] = [k % 7 if k % 3 else None for k in range(60)]  # its gaps are no matter
    asked = _read(frame, "label", None, None, (), {})
    assert leaks_of(asked.table, asked.target, asked.columns, asked.places) == ["x"] * found


def test_three_labels_lie_apart_in_a_column_or_do_not():
    labels = np.repeat(["b", "c", "a"], 20)
    frame = pandas.DataFrame({"apart": np.arange(60) % 20 + np.repeat([7, 90, 50], 20)})
    frame["mixed"] = frame["apart"].where(np.arange(60) != 5, 93)
    frame["equal"] = frame["apart"].replace(50, 26)
    asked = _read(frame.assign(label=labels), "label", None, None, (), {})
    assert leaks_of(asked.table, asked.target, asked.columns, asked.places) == ["apart"]
    table = table_of(frame.assign(label=labels))
    for place, answer in enumerate((True, False, False)):
        own = certify(np.array(frame)[:, [place]], labels).multinomial
        assert isinstance(own, MultinomialSeparator) is answer
        assert separates(tables.numbers(table, [tables.Feature(place)]), labels) is answer


def line_columns(frame):
    return _read(frame, "label", None, None, (), {}).columns


def line_for(frame):
    asked = _read(frame, "label", None, None, (), {})
    return line_of(asked.table, asked.target, asked.columns, asked.places, asked.unlabeled,
                   asked.reading, budget=14.0)  # fmt: skip


def test_labels_of_which_every_row_misses_a_value_are_named():
    frame = make_table()[["size", "weight", "label"]].dropna()
    frame.loc[frame.index[:9], "label"] = "gone"
    frame.loc[frame.index[:9], "size"] = None
    line = line_for(frame)
    assert line.rows == len(frame) - 9
    assert gaps(line_columns(frame)).startswith("The column size has no value in 9 rows:")
    assert line.words.endswith("\nEvery row labeled 'gone' misses a value, and takes no part.")


@pytest.mark.parametrize("name", ["certify", "separation"])
def test_the_questions_of_a_line_share_the_time_and_may_run_out_of_it(monkeypatch, name):
    frame = make_table()[["size", "weight", "label"]].dropna()
    frame["label"] = np.resize(["a", "b", "c"], len(frame))
    budgets = []

    def late(*samples, budget):
        budgets.append(budget)
        raise TimeoutError

    monkeypatch.setattr(separability, name, late)
    line = line_for(frame)
    assert budgets == [2.8]
    assert line.kind == ""
    assert line.proven is (name != "certify")
    assert (line.answer == "not decided") is (name == "certify")


def test_what_is_not_proven_is_not_said_to_be(monkeypatch, made):
    def guess(inputs, labels, *, budget):
        found = certify(inputs, labels)
        pair = next(iter(found.pairs))
        unsure = dataclasses.replace(found.pairs[pair], numerical_only=True)
        whole = dataclasses.replace(found.multinomial, numerical_only=True)
        return dataclasses.replace(
            found, pairs=found.pairs | {pair: unsure}, multinomial=whole, numerical_only=True
        )

    frame = make_table()[["size", "weight", "label"]].dropna()
    frame["label"] = np.resize(["a", "b", "c"], len(frame))
    monkeypatch.setattr(separability, "certify", guess)
    line = line_for(frame)
    assert [separable for _, separable in line.pairs] == [None, *[False] * 5]
    said = dataclasses.replace(made, line=line)
    assert "is not proven" in said.verdict[0][0]
    assert "this is proven" in made.verdict[0][0]
    assert "not decided" in said.to_markdown()


def test_every_row_is_predicted_by_models_that_have_not_seen_it(made):
    found = made.evaluation
    codes = np.unique(make_table()["label"].dropna(), return_inverse=True)[1]
    for name in (LINE, STACK, BOOSTING):
        rows = found.probabilities[name]
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-9)
        # The folds are as long as each other to a row, and drawn once here.
        accuracy = (rows.argmax(axis=1) == codes).mean()
        assert abs(found.estimates[name]["accuracy"].mean - accuracy) < 0.02
        for score, own in found.estimates[name].items():
            values = found.scores[name][score]
            assert len(values) == 5
            assert own.mean == pytest.approx(np.mean(values))
            assert own.low <= own.mean <= own.high
    dummy = DummyClassifier().fit(codes[:, None], codes).score(codes[:, None], codes)
    assert found.estimates[STACK]["accuracy"].mean > dummy + 0.1
    difference = found.differences[LINE]["log loss"].difference
    both = (found.estimates[name]["log loss"].mean for name in (STACK, LINE))
    assert difference == pytest.approx(next(both) - next(both))
    assert 0.8 < found.coverage.mean <= 1


def test_the_folder_has_a_page_that_needs_nothing_else(folder, made):
    page = (folder / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert "url(http" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page  # what is in the data is no markup
    assert page.count("<svg") == 6
    assert "(<code>--group</code>)" in page
    said = (folder / "report.md").read_text()
    for text, section in made.verdict:
        assert text in said
        assert f'id="{section}"' in page
    content = json.loads((folder / "report.json").read_text())
    assert content["verdict"] == [text for text, _ in made.verdict]
    assert [*content] == ["source", "target", "settings", "unfinished", "verdict", "doubts",
                          "data", "line", "models", "sure", "training", "learning_curve", "test"]  # fmt: skip
    assert main(["verify", str(folder / "proof.json"), made.source]) == 0
    proof = ls.certificate_from_json((folder / "proof.json").read_text())
    assert proof.verify(*made.line.samples)


def test_the_model_predicts_as_before_it_was_saved(folder, made, capsys, tmp_path):
    frame = make_table()
    table = table_of(frame)
    one, two = made.model.predict(table), Model.load(folder / "model").predict(table)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])
    frame.loc[0, ["size", "color"]] = [99.0, "pink"]
    frame.drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(folder / "model"), str(tmp_path / "new.csv")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "row,label,probability,p(no),p(yes),set,disagreement,outside"
    assert len(rows) == ROWS + 1
    assert rows[1].endswith(",size|color")
    assert rows[2].endswith(",")
    second = rows[2].split(",")
    assert float(second[3]) == pytest.approx(one["probabilities"][1, 0], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="weight"), "no column 'weight', which the model needs"),
        (
            lambda frame: frame.assign(weight="heavy"),
            "column 'weight': expected numbers, .*'heavy'",
        ),
    ],
)
def test_columns_that_do_not_fit_are_named(folder, tmp_path, capsys, change, words):
    change(make_table()).to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(folder / "model"), str(tmp_path / "new.csv")]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert main(["predict", str(tmp_path), str(tmp_path / "new.csv")]) == 2
    assert "expected the folder `model` of a report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, ["--target", "lable"], "target: no column 'lable' in .*, which has the 8 columns"),
        ({"label": "yes"}, ["--target", "label"], "expected two labels or more .*'yes' alone"),
        ({"label": np.arange(ROWS) / 7}, ["--target", "label"], "is this the target"),
        ({"label": ["a"] * 87 + ["b"] * 3}, ["--target", "label"], "at least 4 rows .* 3 of 'b'"),
        (
            {},
            ["--target", "label", "--time", "color"],
            "'color': expected a number, or a date such",
        ),
        ({}, ["--target", "label", "--time", "size", "--group", "name"], "time: expected no group"),
        ({}, ["--target", "label", "--group", "zoo"], "group: no column 'zoo'"),
        ({}, ["--target", "label", "--ignore", "label"], "target: expected a column that is not"),
        ({}, ["--target", "label", "--seed", "-1"], "seed: expected 0 to 2147483647, got -1"),
    ],
)
def test_what_cannot_be_reported_is_told(tmp_path, capsys, change, options, words):
    make_table().assign(**change).to_csv(tmp_path / "data.csv", index=False)
    out = tmp_path / "report"
    assert main(["report", str(tmp_path / "data.csv"), *options, "--out", str(out)]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not out.exists()


def test_rows_of_another_table_are_compared(made):
    frame = make_table()
    other = frame.assign(weight=frame["weight"] + 3, label=frame["label"].replace("yes", "maybe"))
    asked = _read(frame, "label", None, None, (), {})
    drift = _drift(made, asked, _Other.of(table_of(other), asked))
    assert [own.name for own in drift.moved] == ["weight"]
    known = other["label"] == "no"
    assert (drift.labeled, drift.unknown) == (known.sum(), (other["label"] == "maybe").sum())
    with pytest.raises(ValueError, match=r"the frame: no column 'weight', which the model needs"):
        _Other.of(table_of(other.drop(columns="weight")), asked)
    said = made.model.predict(table_of(other))["label"][known]
    assert drift.scores["accuracy"] == pytest.approx(np.mean(said == "no"))


def test_an_interrupted_report_goes_on_where_it_was(tmp_path, monkeypatch, capsys, made):
    path, out = tmp_path / "data.csv", tmp_path / "report"
    make_table().to_csv(path, index=False)
    command = ["report", str(path), "--target", "label", "--quick", "--out", str(out)]
    command += ["--time-limit", str(LONG)]
    once = evaluation._fold
    folds = []

    def fold(rows, effort, seed, cut):
        if len(folds) == 3:
            raise KeyboardInterrupt
        folds.append(cut)
        return once(rows, effort, seed, cut)

    monkeypatch.setattr(evaluation, "_fold", fold)
    assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    content = json.loads((out / "report.json").read_text())
    assert content["unfinished"] == "the comparison of models"
    assert content["models"]["folds"] == 3
    assert "Unfinished" in (out / "report.html").read_text()
    assert not (out / "model").exists()

    monkeypatch.setattr(evaluation, "_fold", lambda *own: (folds.append(own[-1]), once(*own))[1])
    assert main(command) == 0
    assert len(folds) == 5  # none is done twice
    assert not (out / "unfinished").exists()
    content = json.loads((out / "report.json").read_text())
    whole = json.loads(made.to_json())
    for part in ("models", "sure", "training", "learning_curve"):
        assert content[part] == whole[part], part


def test_what_was_kept_for_another_question_is_not_taken(tmp_path):
    made = {"numbers": np.arange(3)}
    first = Unfinished(tmp_path / "kept", "one", np.ones(3))
    np.testing.assert_equal(first.kept("fold-0", lambda: made), made)
    again = Unfinished(tmp_path / "kept", "one", np.ones(3))
    np.testing.assert_equal(again.kept("fold-0", dict), made)
    (tmp_path / "kept" / "fold-0.npz").write_bytes(b"half a file")
    np.testing.assert_equal(again.kept("fold-0", lambda: made), made)
    (tmp_path / "kept" / "mine.txt").write_text("not to be touched")
    other = Unfinished(tmp_path / "kept", "one", np.zeros(3))
    assert other.kept("fold-0", dict) == {}
    other.clear()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine.txt"]


def test_labels_of_few_rows_are_left_out_of_the_comparison_and_told():
    frame = make_table()[["size", "weight", "label"]].dropna()
    frame.iloc[[1, 2], 2] = "rare"
    report = ls.report(frame, "label", quick=True, time_limit=0)
    assert report.labels == ["no", "yes"]
    assert report.profile.rare == {"rare": [2, 3]}
    assert any("rare" in doubt for doubt in report.doubts)
    assert len(report.line.pairs) == 6  # the certificate is of all of them
    assert report.evaluation.folds == evaluation.SEVERAL  # no time for more
    assert report.evaluation.unfinished
