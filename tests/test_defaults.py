"""Defaults: chosen on other data than they are shown on, by the rule that is said."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import logistack as ls
from experiments import answering, defaults, defaults_data, keeping

TINY = defaults.Config(
    development=("XOR, noisy, 120", "one cluster a class, 150"),
    rounds=("first", "second"),
    data=("iris",),
    repeats=1,
    folds=3,
    jobs=1,
)
ROUNDS = {
    "first": {"learning_rate": [1e-6, 0.03], "epochs": [20]},
    "second": {"hidden_layer_sizes": [(1,), (16,)], "weight_decay": [0.1]},
}
FOLDER = Path(os.environ.get("LOGISTACK_DATA", "nowhere")) / "tabular"
GENERATED = [name for name in defaults.DEVELOPMENT if not name.startswith("MNIST")]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(defaults, "ROUNDS", ROUNDS)
        path = tmp_path_factory.mktemp("defaults") / "defaults.json"
        return answering.find("defaults", TINY, defaults.run, path)


@pytest.fixture(scope="module")
def kept_by_repository():
    return answering.recall("defaults", keeping.KEPT / "defaults.json")


@pytest.mark.parametrize("name", GENERATED)
def test_every_draw_has_samples_of_its_own_of_all_classes(name):
    data = defaults.DEVELOPMENT[name]
    inputs, labels = data.samples()
    splits = data.splits()
    assert len(splits) == data.draws
    places = np.concatenate([*(learned for learned, _ in splits), splits[0][1]])
    assert sorted(places) == list(range(len(inputs)))
    for learned, tested in splits:
        assert (len(learned), len(tested)) == (data.rows, defaults_data.TESTED)
        assert set(labels[learned]) == set(labels[tested]) == set(range(labels.max() + 1))


def test_labels_drawn_anew_are_a_share():
    clean, noisy = (defaults_data.generated("moons", redrawn=share)(4_000)[1] for share in (0, 0.2))
    assert np.mean(clean != noisy) == pytest.approx(0.1, abs=0.02)


def test_two_squares_a_side_are_xor():
    inputs, labels = defaults_data.squares(2, 0.0)(100)
    np.testing.assert_array_equal(labels, (inputs > 0.5).sum(axis=1) % 2)


def test_nothing_is_shown_on_what_was_chosen_on():
    names = {name.split(",")[0].lower() for name in defaults.DEVELOPMENT}
    assert not names & {name.lower() for name in defaults.REPORTED}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="LOGISTACK_DATA has no tabular files")
@pytest.mark.parametrize(("name", "shape"), [("sonar", (208, 60)), ("pima", (768, 8))])
def test_tables_are_read_with_the_class_last(name, shape):
    inputs, labels = defaults.REPORTED[name]()
    assert inputs.shape == shape
    assert set(labels) == {0, 1}


def test_a_table_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("LOGISTACK_DATA", str(tmp_path))
    with pytest.raises(keeping.RefusedError, match=r"sonar\.csv"):
        defaults.REPORTED["sonar"]()


def test_the_regret_is_the_logarithm_of_the_ratio_to_the_best():
    found = {
        "one": {"error": [0.095, 0.195], "loss": [0.495, 0.995]},
        "other": {"error": [0.0, 0.005], "loss": [3.995, 0.995]},
    }
    expected = [[[0, 1], [0, 1]], [[0, 1], [2, 0]]]
    np.testing.assert_allclose(defaults.regrets(found), np.log(2) * np.array(expected))
    assert defaults.best_of(found) == 0 or defaults.regrets(found).mean(axis=(0, 1))[0] > 0


def test_a_round_goes_on_from_the_best_of_the_one_before(kept):
    first, second = kept["found"][:2]
    assert [own["round"] for own in (first, second)] == ["first", "second"]
    assert [own["learning_rate"] for own in first["candidates"]] == [1e-6, 0.03]
    assert defaults.best_of(first["scores"]) == 1
    for own in second["candidates"]:
        assert (own["learning_rate"], own["epochs"]) == (0.03, 20)
    assert defaults.chosen(kept)["hidden_layer_sizes"] == [16]  # one unit is a line


def test_scores_are_those_of_fitting_each_candidate_alone(kept):
    data = defaults.DEVELOPMENT["XOR, noisy, 120"]
    inputs, labels = data.samples()
    own = kept["found"][1]
    settings = own["candidates"][1]
    errors = []
    for learned, tested in data.splits():
        model = ls.estimator.StackClassifier(random_state=0, **settings)
        model.fit(inputs[learned], labels[learned])
        errors.append(1 - model.score(inputs[tested], labels[tested]))
    found = own["scores"]["XOR, noisy, 120"]["error"][1]
    assert found == pytest.approx(np.mean(errors), abs=2e-3)


def test_peers_come_as_they_are_behind_a_scaler():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    plain = {"MLPClassifier()": MLPClassifier(random_state=0), "LogisticRegression()": LogisticRegression()}  # fmt: skip
    for name, peer in defaults.peers(TINY).items():
        assert repr(peer) == repr(make_pipeline(StandardScaler(), plain[name]))


def test_all_models_are_compared_on_every_fold(kept):
    row = kept["found"][-1]
    assert [row[own] for own in ("data", "samples", "features", "classes")] == ["iris", 150, 4, 3]
    for measure in ("error", "loss"):
        assert list(row[measure]) == [
            "StackClassifier()", "StackClassifier(members=8)", "MLPClassifier()",
            "LogisticRegression()",
        ]  # fmt: skip
        for values in row[measure].values():
            assert len(values) == 3
            assert 0 <= min(values) <= max(values) < 0.5


def test_the_report_has_the_choice_the_means_and_the_verdicts(kept):
    report = defaults.report(kept)
    assert "hidden_layer_sizes=[16]" in report
    row = kept["found"][-1]
    mean = np.mean(row["loss"]["StackClassifier()"])
    assert any(
        line.startswith("| iris | 150 | 4 | 3 |") and f"{mean:.3f}" in line
        for line in report.splitlines()
    )
    assert report.count("| `StackClassifier(members=8)` beside `MLPClassifier()` |") == 1


def test_better_and_worse_are_where_the_interval_leaves_0_out():
    rng = np.random.default_rng(0)
    means = dict(zip((defaults.STACK, defaults.COMMITTEE, defaults.PERCEPTRON, defaults.REGRESSION), (0.1, 0.3, 0.2, 0.1), strict=True))  # fmt: skip
    values = {name: (mean + 0.001 * rng.normal(size=25)).tolist() for name, mean in means.items()}
    table = defaults.counts_table([{"error": values, "loss": values}], folds=5)
    assert [line.split(" | ", 1)[1] for line in table[2:]] == [
        "1 | 0 | 0 | 1 | 0 | 0 |",
        "0 | 1 | 0 | 0 | 1 | 0 |",
        "0 | 0 | 1 | 0 | 0 | 1 |",
        "0 | 0 | 1 | 0 | 0 | 1 |",
    ]


def test_the_defaults_are_those_that_were_chosen(kept_by_repository):
    own = ls.estimator.StackClassifier().get_params()
    for name, value in defaults.chosen(kept_by_repository).items():
        assert own[name] == (tuple(value) if isinstance(value, list) else value), name
    _, rows = defaults.parts_of(kept_by_repository)
    assert [row["data"] for row in rows] == list(defaults.REPORTED)


def test_the_page_shows_what_is_kept(kept_by_repository):
    page = Path(defaults.__file__).with_name("README.md").read_text(encoding="utf-8")
    for line in defaults.report(kept_by_repository).splitlines():
        if line.startswith("|"):
            assert line in page
