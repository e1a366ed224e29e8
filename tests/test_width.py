"""Width: what each seed holds out, how a rate is chosen, and where the elbow is."""

import contextlib
import dataclasses
import itertools

import numpy as np
import pytest

import logistack as ls
from experiments import keeping, width

TINY = width.Config(
    widths=(4, 1), seeds=3, rates=(0.03, 0.001), epochs=3, samples=200, batch_size=40
)


@pytest.fixture(scope="module")
def trained():
    """What the networks were trained on, what they became, and what was found."""
    calls = []

    def fit_population(*arguments, **options):
        calls.append((arguments, options, ls_fit_population(*arguments, **options)))
        return calls[-1][-1]

    ls_fit_population = ls.fit_population
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ls, "fit_population", fit_population)
        found = width.run(TINY)
    return calls, found


def logits_of(params, inputs):
    """Those of one hidden layer, in NumPy and float64."""
    (weight, bias), (out_weight, out_bias) = (
        tuple(np.asarray(part, float) for part in layer) for layer in params
    )
    hidden = 1 / (1 + np.exp(-(inputs.astype(float) @ weight.T + bias)))
    return hidden @ out_weight.T + out_bias


def kept(*cells):
    """Results with these cells: width, rate, validation loss, and the wrong of 50 digits a seed."""
    names = ("width", "rate", "validation_loss", "wrong")
    found = [
        {**dict(zip(names, cell, strict=True)), "epochs": [3] * len(cell[-1]), "tested": 50}
        for cell in cells
    ]
    return {"settings": {"data": "digits", "seeds": len(cells[0][-1])}, "found": found}


def test_a_seed_holds_out_a_fifth_and_a_fifth_of_the_others_of_every_class():
    labels = np.repeat(np.arange(10), 50)
    validation, test = width.hold_out(labels, 3)
    assert validation.shape == test.shape == (3, 500)
    assert not (validation & test).any()
    for seed in range(3):
        assert np.bincount(labels[test[seed]]).tolist() == [10] * 10
        assert np.bincount(labels[validation[seed]]).tolist() == [8] * 10
    assert len(np.unique(test, axis=0)) == 3


def test_no_network_sees_the_digits_that_its_seed_tests_on(trained):
    calls, _ = trained
    labels = width.load(TINY).labels
    held = width.hold_out(labels, 3)
    for (_, options, _), member in itertools.product(calls, range(6)):
        seed = member % 3
        np.testing.assert_array_equal(options["validation"][member], held.validation[seed])
        np.testing.assert_array_equal(
            options["sample_weight"][member], ~(held.validation[seed] | held.test[seed])
        )


def test_a_seed_starts_alike_at_every_rate(trained):
    calls, _ = trained
    for units, ((_, params, _, _), options, _) in zip((4, 1), calls, strict=True):
        assert params[0].bias.shape == (6, units)
        rates = np.asarray(options["hyperparams"]["learning_rate"])
        np.testing.assert_allclose(rates, np.repeat([0.03, 0.001], 3))
        weights = np.asarray(params[0].weight)
        np.testing.assert_array_equal(weights[:3], weights[3:])
        assert np.any(weights[0] != weights[1])


def test_counts_the_digits_held_out_that_are_read_wrongly(trained):
    calls, found = trained
    digits = width.load(TINY)
    _, test = width.hold_out(digits.labels, 3)
    assert [(cell["width"], cell["rate"]) for cell in found] == [
        (4, 0.03), (4, 0.001), (1, 0.03), (1, 0.001)
    ]  # fmt: skip
    for place, cell in enumerate(found):
        assert cell["tested"] == 40
        for seed in range(3):
            _, _, fitted = calls[place // 2]
            params = keeping.member(fitted.params, 3 * (place % 2) + seed)
            read = logits_of(params, digits.inputs).argmax(axis=1)
            assert cell["wrong"][seed] == np.sum((read != digits.labels)[test[seed]])


def test_a_width_has_the_rate_that_is_better_on_the_validation_digits():
    cells = [(8, 0.1, 2.0, (5, 5)), (8, 0.2, 1.0, (10, 20)), (2, 0.1, 3.0, (25, 25))]
    narrow, wide = width.by_width(kept(*cells))
    assert (narrow.width, wide.width, wide.rate) == (2, 8, 0.2)
    np.testing.assert_array_equal(wide.percent, [20, 40])


def test_the_elbow_is_the_first_within_a_standard_error_of_the_least():
    # Of the least, 10 and 14 percent: s² = 8, and (1/2 + 1/4) of it is 6, whose root is 2.45.
    cells = [
        (1, 0.1, 1.0, (20, 20)),
        (2, 0.1, 1.0, (7.25, 7.25)),  # 14.5, above 14.45
        (4, 0.1, 1.0, (7.2, 7.2)),
        (8, 0.1, 1.0, (5, 7)),
        (16, 0.1, 1.0, (6.5, 6.5)),
    ]
    least, standard_error, enough = width.elbow(width.by_width(kept(*cells)))
    assert (least.width, enough.width) == (8, 4)
    assert standard_error == pytest.approx(6**0.5)


def test_the_report_says_what_is_enough_and_what_is_not_shown():
    cells = [(1, 0.1, 1.0, (30, 25, 31)), (4, 0.1, 1.0, (5, 7, 5)), (8, 0.1, 1.0, (5, 6, 5))]
    report = width.report(kept(*cells))
    assert "\n4 units are enough: 11.33% is within a standard error (0.88) of the least" in report
    assert report.splitlines()[-1].startswith("Error by seed, in points: 4 and 8: no difference")
    only = width.report(kept(cells[0], (8, 0.1, 1.0, (5, 6, 5))))
    assert only.splitlines()[-1].startswith("8 units are enough: 10.67% is within")


def test_the_figure_has_the_means_and_the_elbow():
    cells = [(1, 0.1, 1.0, (30, 25, 31)), (4, 0.1, 1.0, (5, 7, 5)), (8, 0.1, 1.0, (5, 6, 5))]
    (axes,) = width.plot(kept(*cells))["width"].axes
    means, limit, mark = axes.lines[0], *axes.lines[-2:]
    np.testing.assert_allclose(means.get_ydata(), [57.333, 11.333, 10.667], atol=1e-3)
    assert limit.get_ydata() == pytest.approx([11.5485] * 2, abs=1e-3)
    assert list(mark.get_xdata()) == [4, 4]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "4", "8"]


def test_other_digits_are_asked_for_by_name(monkeypatch):
    asked = []
    load = ls.data.load

    def other(name, **options):
        asked.append(name)
        return load("digits", **options)

    monkeypatch.setattr(ls.data, "load", other)
    inputs = width.load(dataclasses.replace(TINY, data="semeion")).inputs
    assert asked == ["semeion"]
    assert (inputs.shape, inputs.min(), inputs.max()) == ((200, 64), -0.5, 0.5)


def test_goes_on_behind_the_widths_that_were_finished(tmp_path, monkeypatch):
    asked = []

    def train(config, width_, *_):
        asked.append(width_)
        if width_ == 1 and len(asked) == 2:
            raise KeyboardInterrupt
        return [{"width": width_}]

    monkeypatch.setattr(width, "train", train)
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt), keeping.Unfinished(tmp_path / "u") as kept:
            found = width.run(TINY, kept.once)
    assert asked == [4, 1, 1]
    assert found == [{"width": 4}, {"width": 1}]
