"""Certificates that somebody made to deceive, or to burden the machine that checks them."""

import dataclasses
import json
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from logistack.separability import (
    ClassCertificates,
    CommonPoint,
    MultinomialCommonPoint,
    MultinomialSeparator,
    NothingToSeparate,
    Separator,
    certificate_from_json,
    certify,
    classes,
    rational,
    separation,
)
from logistack.separability.data import data_of

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]]
ZERO, ONE, HALF = Fraction(0), Fraction(1), Fraction(1, 2)
ROW = [[0], [1], [2]]


def forgeries():
    """Separators of weight 0, in all the ways in which one side can be empty."""
    for kind in (Separator, NothingToSeparate):
        for bias in (ONE, -ONE):
            for positive in (1, 7, "1", None, math.nan, math.inf, 10**400, -(10**5000), True):
                yield kind((ZERO, ZERO), bias, ONE, positive=positive)
                for negative in (positive, 7, "0", math.nan, 10**400):
                    yield kind((ZERO, ZERO), bias, ONE, positive=positive, negative=negative)


@pytest.mark.parametrize(
    "labels",
    [[0, 2, 2, 0], [0.0, 2.5, 2.5, 0.0], ["0", "2", "2", "0"], [False, True, True, False]],
    ids=["integers", "floats", "strings", "booleans"],
)
def test_no_proof_of_one_side_holds_for_two(labels):
    for forged in forgeries():
        assert not forged.verify(XOR, labels), forged
        assert forged.objection(XOR, labels)


def test_a_text_does_not_make_them_hold():
    for forged in forgeries():
        # Of these, the first and the last are in no text.
        if forged.positive is not None and forged.positive != -(10**5000):
            assert not certificate_from_json(forged.to_json()).verify(XOR, [0.0, 2.5, 2.5, 0.0])


def test_a_label_as_large_as_json_has_it_is_no_label_of_the_data():
    text = Separator((ZERO,), ONE, ONE, positive=5).to_json()
    for label in ("1e400", "NaN", "-Infinity", str(10**400)):
        forged = certificate_from_json(text.replace('"positive": 5', f'"positive": {label}'))
        assert not forged.verify([[0], [1]], [0.0, 1.0])


def test_neighboring_labels_beyond_floats_are_two():
    found = certify([[0], [1]], [0.0, 2.0**53])
    assert found.verify()
    assert not dataclasses.replace(found, positive=2**53 + 1).verify()


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [(XOR, [0, 1, 1, 0]), (XOR, [0, 0, 0, 1])],
    ids=["common point", "separator"],
)
def test_a_proof_holds_for_exactly_its_labels(inputs, labels):
    found = certify(inputs, labels)
    for proof in (found, certificate_from_json(found.to_json())):
        assert proof.verify(inputs, labels)
        assert proof.verify(inputs, [float(label) for label in labels])
        for other in (
            [7 * (label == 0) + label for label in labels],
            [label + 1 for label in labels],
            [2 if place == 0 else label for place, label in enumerate(labels)],
            [1] * 4,
            [0] * 4,
            [str(label) for label in labels],
        ):
            assert not proof.verify(inputs, other), other
    assert not dataclasses.replace(found, others=(0, 7)).verify()
    assert not dataclasses.replace(found, others=()).verify()


def test_a_pair_needs_both_of_its_labels_and_no_others():
    pair = certify(ROW, [0, 1, 2], positive=2, negative=0)
    assert pair.verify([[0], [2]], [0, 2])
    assert pair.verify([[0], [5], [2]], [0, 7, 2])
    assert not pair.verify([[0], [2]], [0, 1])
    assert not pair.verify([[2], [2]], [2, 2])
    assert not dataclasses.replace(pair, negative=2).verify()


def test_certificates_of_many_classes_hold_for_exactly_those():
    found = certify(ROW, [0, 1, 2])
    whole = found.multinomial
    assert isinstance(whole, MultinomialSeparator)
    assert not whole.verify([[0], [1]], [0, 1])
    wider = dataclasses.replace(
        whole,
        classes=(0, 1, 2, 3),
        weight=(*whole.weight, whole.weight[0]),
        bias=(*whole.bias, whole.bias[0] - 100),
    )
    assert not wider.verify(ROW, [0, 1, 2])
    assert not found.verify([[0], [1]], [0, 1])
    inputs, labels = [[0], [1], [0], [2]], [0, 1, 1, 2]
    mixed = certify(inputs, labels).multinomial
    assert isinstance(mixed, MultinomialCommonPoint)
    assert mixed.verify(inputs, labels)
    assert not dataclasses.replace(mixed, classes=(0, 1, 2, 3)).verify(inputs, labels)
    assert not mixed.verify(inputs[:3], labels[:3])


def test_no_part_is_in_a_text_twice():
    """The first would be lost, and with it that it is no proof."""
    content = json.loads(certify(ROW, [0, 1, 2]).to_json())
    for name in ("pairs", "rest"):
        forged = content[name][0] | {"margin": content["multinomial"]["margin"]}
        twice = content | {name: [forged, *content[name]]}
        with pytest.raises(ValueError, match="parts that are twice there"):
            certificate_from_json(json.dumps(twice))


def test_one_class_has_no_multinomial_model():
    nothing = {"rows": [], "null": []}
    content = content_of(separation([[0], [1]], [0, 0])) | {
        "kind": "MultinomialSeparation",
        "classes": [0],
        "rows": 0,
        "separated": [],
        "directions": [claimed(0)],
        "all_rows": nothing,
        "other_rows": nothing,
        "coefficients": [],
    }
    assert not certificate_from_json(json.dumps(content)).verify([[0], [1]], [0, 0])


def test_a_text_of_before_says_of_which_labels_it_is_by_its_sides():
    """It names the positive label alone; the rest have to be there, whatever they are."""
    content = json.loads(certify(XOR, [0, 1, 1, 0]).to_json())
    assert content.pop("others") == [0]
    old = certificate_from_json(json.dumps(content))
    assert old.verify(XOR, [0, 1, 1, 0])
    assert old.verify(XOR, [0, 1, 1, 2])
    assert not old.verify(XOR, [0, 2, 2, 0])


def claimed(length, numerators=None, denominator="1"):
    return {"length": length, "denominator": denominator, "numerators": numerators or {}}


def content_of(found):
    return json.loads(found.to_json())


LONG = "0x" + "f" * 200_000
NEAR = "0x" + "e" * 200_000
NUMBERS = {
    "zeros": claimed(99_999_999),
    "long": claimed(2, {"0": NEAR, "1": NEAR}, LONG),
    "longest": claimed(2, {"0": "0x" + "e" * 10**6}, "0x" + "f" * 10**6),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 2, 2]])
def test_memory_is_in_proportion_to_the_bytes_of_proof_and_data(name, labels):
    """And so is time: before, each of these took minutes or gigabytes."""
    found = certify(XOR, labels)
    claim = NUMBERS[name]
    vectors = ("point", "weights_positive", "weights_negative", "weight")

    def burdened(content):
        return {key: claim if key in vectors else value for key, value in content.items()}

    content = burdened(content_of(found))
    if isinstance(found, ClassCertificates):
        content = content_of(found)
        for name in ("pairs", "rest"):
            content[name] = [burdened(part) for part in content[name]]
    text = json.dumps(content)
    tracemalloc.start()
    try:
        read = certificate_from_json(text)
        assert not read.verify(XOR, labels)
        assert len(str(read)) + len(repr(read)) < 5_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(text) + 200_000


def test_a_mixture_of_long_numbers_is_checked_to_its_end():
    """An honest one: 1 / 3 and 2 / 3 of a number that is far from its lowest terms."""
    text = certify([[0], [3], [1]], [0, 0, 1]).to_json()
    factor = 7**10_000
    content = json.loads(text)
    for key in ("point", "weights_positive", "weights_negative"):
        content[key]["denominator"] = hex(int(content[key]["denominator"]) * factor)
        content[key]["numerators"] = {
            place: hex(int(value) * factor) for place, value in content[key]["numerators"].items()
        }
    read = certificate_from_json(json.dumps(content))
    assert read.verify([[0], [3], [1]], [0, 0, 1])
    assert read == certificate_from_json(text)
    content["point"]["numerators"]["0"] = hex(factor + 1)
    assert not certificate_from_json(json.dumps(content)).verify([[0], [3], [1]], [0, 0, 1])


def test_a_line_longer_than_any_that_is_needed_is_no_proof():
    inputs = np.random.default_rng(0).normal(size=(20_000, 2))
    labels = inputs[:, 0] > 0
    found = certify(inputs, labels)
    assert found.verify()
    content = content_of(found) | {"weight": NUMBERS["longest"]}
    assert not certificate_from_json(json.dumps(content)).verify(inputs, labels)


@pytest.mark.parametrize("samples", [3, 300])
def test_many_classes_in_a_text_are_not_more_than_those_of_the_data(samples):
    classes = list(range(1500))
    one = {"0": "1"}
    content = content_of(certify(ROW, [0, 1, 2]).multinomial) | {
        "classes": classes,
        "weight": [claimed(1, {"0": str(label + 1)}, "0x" + f"{label}1" * 99) for label in classes],
        "bias": claimed(1500),
        "margin": claimed(1, one),
    }
    read = certificate_from_json(json.dumps(content))
    inputs, labels = np.arange(samples)[:, None], np.arange(samples)
    assert not read.verify(inputs, labels)
    # Denominators that have little in common are not multiplied, though the classes are there.
    read = dataclasses.replace(
        read,
        classes=tuple(range(samples)),
        weight=read.weight[:samples],
        bias=rational.Numbers(samples, 1, {}),
    )
    assert not read.verify(inputs, labels)


def test_a_common_denominator_may_not_cost_far_more_than_the_numbers(monkeypatch):
    """One long denominator is the other rows' too, and they may be of a hundred classes."""
    whole = certify(ROW, [0, 1, 2]).multinomial
    first, *others = map(rational.Numbers.of, whole.weight)
    longer = first.over(first.denominator * 7**4000)
    burdened = dataclasses.replace(whole, weight=(longer, *others))
    assert burdened == whole
    assert burdened.verify(ROW, [0, 1, 2])
    monkeypatch.setattr(classes, "MOST_WORK", 2**14)
    assert whole.verify(ROW, [0, 1, 2])
    assert not burdened.verify(ROW, [0, 1, 2])


def test_of_many_classes_no_table_of_scores_is_held():
    count = 300
    labels = np.arange(3000) % count
    # 2cx - c² is highest for c = x: by 1 over that of its neighbors.
    weight = [(Fraction(2 * label),) for label in range(count)]
    bias = [Fraction(-label * label) for label in range(count)]
    found = MultinomialSeparator(weight, bias, ONE, tuple(range(count)))
    tracemalloc.start()
    try:
        assert found.least_difference(data_of(labels[:, None], labels)) == (1, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("number", ["1_0", "0b11", "0o7", "+1", " 1", "1 ", "٣", "1.0", "0x_f", ""])
def test_integers_are_decimal_or_hexadecimal_and_nothing_else(number):
    content = content_of(certify(XOR, [0, 1, 1, 0]))
    for changed in (
        claimed(2, {"0": number}),
        claimed(2, {"0": "1"}, number),
        claimed(2, {number: "1"}),
    ):
        with pytest.raises(ValueError, match="text: expected a certificate"):
            certificate_from_json(json.dumps(content | {"point": changed}))


@pytest.mark.parametrize("place", ["01", "2", "-1", "1" * 5000])
def test_places_are_written_in_one_way_and_below_the_length(place):
    content = content_of(certify(XOR, [0, 1, 1, 0])) | {"point": claimed(2, {place: "1"})}
    with pytest.raises(ValueError, match="text: expected a certificate"):
        certificate_from_json(json.dumps(content))


def test_a_label_as_long_as_the_text_is_shown_shortened():
    forged = Separator((ZERO,), ONE, ONE, positive="a" * 60_000)
    assert len(forged.objection([[0], [1]], [0, 1])) < 300


def test_a_point_beyond_what_python_writes_in_decimal_has_words():
    point = (Fraction(2**40_000 + 1, 3),)
    found = CommonPoint(point, (ONE,), (HALF, HALF))
    assert str(found) == "no line is enough: one point mixes 1 positive and 2 negative samples"
