"""The comparison with published figures, small: on the digits that need no file."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls
from experiments import published
from experiments.published import Recipe, Row

GOOD = Recipe((8,), epochs=3, batch_size=32, learning_rate=0.05)
IDLE = dataclasses.replace(GOOD, learning_rate=0.0)
SAMPLES = 240


@pytest.fixture
def config(tmp_path):
    return published.Config(
        results=tmp_path / "kept" / "published.json",
        out=tmp_path / "out",
        samples=SAMPLES,
        progress=False,
    )


@pytest.fixture
def trained(monkeypatch):
    """What was trained: the recipe, the seed and which images, for each network."""
    runs, judged = [], published.judged

    def count(recipe, seed, dataset, judges, kept, judging, **options):
        assert (judges is not dataset) or not np.any(kept & judging)
        runs.append((recipe, seed, kept))
        return judged(recipe, seed, dataset, judges, kept, judging, **options)

    monkeypatch.setattr(published, "judged", count)
    return runs


def test_chooses_on_a_part_of_the_training_images_and_tests_once(config, trained, monkeypatch):
    row = Row("Digits", "digits", (IDLE, GOOD), target=50.0, members=2, target_of_committee=50.0)
    monkeypatch.setattr(published, "ROWS", {"digits": row})
    book = published.Book(config.results)
    published.run_row("digits", row, book, config)
    choice, runs = trained[:2], trained[2:]
    assert [recipe for recipe, _, _ in choice] == [IDLE, GOOD]
    assert [(recipe, seed) for recipe, seed, _ in runs] == [(GOOD, 0), (GOOD, 1)]
    assert all(kept.sum() == 5 * SAMPLES / 6 for _, _, kept in choice)
    assert all(kept.all() for _, _, kept in runs)

    entry = json.loads(config.results.read_text())["digits"]
    idle, good = (tried["validation_error"] for tried in entry["choice"])
    assert good < idle
    labels = ls.data.load("digits", split="test").labels[:SAMPLES]
    logits = [np.load(file)["logits"] for file in sorted(config.out.glob("*/*.npz"))]
    wrong = [int((each.argmax(1) != labels).sum()) for each in logits]
    assert [run["wrong"] for run in entry["runs"]] == wrong
    shares = [np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in logits]
    together = int((np.mean(shares, 0).argmax(1) != labels).sum())
    assert entry["committee"] == {"members": 2, "wrong": together}

    table = published.report(book.entries).splitlines()
    errors = 100 * np.array(wrong) / SAMPLES
    assert f"{errors.mean():.2f} ± {errors.std(ddof=1):.2f}%" in table[1]
    assert "64-8-10" in table[1]
    assert f"{100 * together / SAMPLES:.2f}%" in table[2]
    assert ("reached" in table[2]) == (100 * together / SAMPLES <= 50)

    # The same again trains nothing, also with the JSON lost: finished networks are kept.
    before = config.results.read_text()
    trained.clear()
    other = published.Book(config.results.with_name("other.json"))
    published.run_row("digits", dataclasses.replace(row, candidates=(GOOD,)), other, config)
    assert trained == []
    assert other.entries["digits"]["runs"] == entry["runs"]
    # Nor does a row that is whole, with its networks lost.
    shutil.rmtree(config.out)
    published.run_row("digits", row, published.Book(config.results), config)
    assert trained == []
    assert config.results.read_text() == before


def test_principal_components_are_those_of_the_training_pixels_and_halfway_white():
    draw = np.random.default_rng(0).standard_normal
    pixels = np.float32(draw((500, 6)) @ draw((6, 6)) + 3)
    recipe = Recipe((8,), epochs=1, components=4, whitening=0.5)
    features = published.features_of(recipe, pixels)
    z = features(pixels)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    variances = np.sort(np.linalg.eigvalsh(np.cov(pixels.T)))[::-1][:4]
    # Divided by the root of its deviation, a variance v becomes √v.
    np.testing.assert_allclose(np.cov(z.T), np.diag(np.sqrt(variances)), atol=1e-4)
    moved = np.tile(features(np.ones(6)) - features(np.zeros(6)), (500, 1))
    np.testing.assert_allclose(features(pixels + 1) - z, moved, atol=1e-5)
    shifted = published.features_of(Recipe((8,), epochs=1, shift=0.5), pixels)
    np.testing.assert_array_equal(shifted(pixels), pixels - np.float32(0.5))


def test_noise_and_deformation_are_new_for_every_key():
    x = jnp.ones(36)
    for recipe, moved in ((Recipe((8,), 1, noise=0.5), 0.3), (Recipe((8,), 1, deform=True), 0.0)):
        change = published.change_of(recipe, (6, 6))
        one, other = (change(jax.random.key(seed), x) for seed in (0, 1))
        assert one.shape == x.shape
        assert np.std(one) >= moved
        # An image of one value stays as it is, however it is bent.
        assert bool(moved) != np.allclose(one, other)
    assert published.change_of(Recipe((8,), 1), (6, 6)) is None


def test_without_a_test_set_every_image_is_judged_by_a_network_that_has_not_seen_it(
    config, monkeypatch
):
    dataset = published.load("digits", SAMPLES)[0]
    judged = []

    def judge(recipe, seed, train, judges, kept, judging, **_):
        assert not np.any(kept & judging)
        assert np.all(kept | judging)
        judged.append(judging)
        return np.full((judging.sum(), 10), seed + np.flatnonzero(judging)[:, None]), 1.0

    monkeypatch.setattr(published, "judged", judge)
    logits, seconds = published.member("digits", GOOD, 3, config, dataset, None)
    np.testing.assert_array_equal(np.sum(judged, 0), 1)
    np.testing.assert_array_equal(logits[:, 0], 3 + np.arange(SAMPLES))
    assert seconds == published.FOLDS == len(judged)
    for own in judged:  # stratified
        counts = np.bincount(dataset.labels[own], minlength=10)
        assert np.all(np.abs(counts - np.bincount(dataset.labels) / published.FOLDS) < 1)


def test_a_row_that_has_not_run_or_not_ended_says_so(monkeypatch):
    row = Row("Digits", "digits", (GOOD,), published="5.9%", target=4.5, members=5)
    monkeypatch.setattr(published, "ROWS", {"digits": row})
    assert "not run yet" in published.report({})
    runs = [{"seed": 0, "wrong": 9, "seconds": 2.0}]
    about = {"network": "64-8-10", "recipe": "", "test_images": 200, "epochs": 3}
    table = published.report({"digits": {"runs": runs, **about}})
    assert "4.50% (1 of 5)" in table
    assert "4.50%, reached" in table
    runs[0]["wrong"] = 10
    assert "4.50%, missed" in published.report({"digits": {"runs": runs, **about}})


def test_what_is_no_json_is_refused_and_kept(tmp_path):
    path = tmp_path / "published.json"
    path.write_text('{"usps": ')
    with pytest.raises(ValueError, match=r"^results: expected JSON in .*published\.json"):
        published.Book(path)
    assert path.read_text() == '{"usps": '


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--rows letters", "rows: expected some of mnist, "),
        ("--epochs 0", "epochs: expected at least 1, got 0"),
        ("--samples 10", "samples: expected at least 100, got 10"),
        ("--results /dev/null/new/r.json", "results: expected a folder to write to"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, config, capsys, monkeypatch):
    monkeypatch.setattr(published, "run", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        published.main(["--out", str(config.out), *words.split()])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(wrong)


def test_missing_data_are_missed_before_anything_is_trained(config, monkeypatch, trained, tmp_path):
    monkeypatch.setenv("LOGISTACK_DATA", str(tmp_path))
    rows = {"digits": Row("Digits", "digits", (GOOD,)), "usps": Row("USPS", "usps", (GOOD,))}
    monkeypatch.setattr(published, "ROWS", rows)
    with pytest.raises(ValueError, match=r"^data: expected the files of usps"):
        published.run(config)
    assert trained == []


def test_a_row_that_is_kept_is_said_to_be(config, trained, monkeypatch, capsys):
    monkeypatch.setattr(published, "ROWS", {"digits": Row("Digits", "digits", (GOOD,), members=1)})
    published.run(config, command="a command")
    assert "Kept" not in capsys.readouterr().out
    trained.clear()
    published.run(config, command="another command")
    assert trained == []
    said = capsys.readouterr().out
    assert said.startswith("Kept from an earlier run, not trained now: a command (jax ")


def test_the_table_of_the_committed_results_is_drawn_without_training(
    trained, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    published.main(["--table"])
    said = capsys.readouterr().out
    assert said.startswith("Kept in ")
    assert "from earlier runs, not trained now" in said.splitlines()[0]
    assert all(row.title in said for row in published.ROWS.values())
    assert trained == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_kept_is_written_unless_it_is_named():
    assert published.results_of(published.Config()) == published.Config().out / "published.json"
    tried = published.results_of(published.Config(samples=500, epochs=1))
    assert tried == published.Config().out / "samples-500-epochs-1" / "published.json"
