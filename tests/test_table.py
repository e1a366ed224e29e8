"""Numbers and labels are what is written in a table, or an error."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logistack.data import kinds, table
from logistack.data.table import Feature, Table


def column(*cells):
    return Table("data", ("x",), (np.array(cells, object),))


def exact(*cells, decimal="."):
    """The numbers of a column, as fractions."""
    found = table.numbers(column(*cells)._replace(decimal=decimal), [Feature(0)])
    return [value * found.units[0] for value in found.integers[:, 0].tolist()]


SPELLED = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "+", "-"]),
    st.from_regex(r"[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,9}", fullmatch=True).filter(str.isascii),
    st.sampled_from(["", "e0", "e-3", "E+25", "e-0300", "e300"]),
)


@given(st.lists(SPELLED, min_size=1, max_size=5))
@example(["9007199254740993", "0.1", "1e23", "99999999999999999999999"])
@example(["4611686018427387904", "1"])
@example(["-0", "0e7", "1."])
def test_a_number_is_what_is_written(texts):
    expected = [Fraction(text) for text in texts]
    assert exact(*texts) == expected
    swapped = [text.translate(kinds.POINT_FOR_COMMA) for text in texts]
    assert exact(*swapped, decimal=",") == expected


def test_integers_are_short_where_they_fit():
    two = Table("data", ("x", "y"), tuple(np.array([a, b], object) for a, b in ("12", "34")))
    assert table.numbers(two, [Feature(0), Feature(1)]).integers.dtype == np.int64
    largest = table.numbers(column(str(2**62 - 1), "0.000"), [Feature(0)])
    assert (largest.integers.dtype, largest.units) == (np.int64, [1])
    assert table.numbers(column(str(2**62)), [Feature(0)]).integers.dtype == object
    assert table.numbers(column("1.50", "2.00"), [Feature(0)]).units == [Fraction(1, 2)]


def test_five_thousand_digits_are_a_number():
    for text in ("9" * 5000, "1e4999", "-1e-5000", "0." + "1" * 5000, "1" * 5000 + "e-5000"):
        whole, _, exponent = text.partition("e")
        mantissa = Fraction(int(Decimal(whole))) if "." not in whole else Fraction(Decimal(whole))
        assert exact(text, "1") == [mantissa * Fraction(10) ** int(exponent or 0), 1]


@pytest.mark.parametrize(
    "text", ["9" * 5001, "1e5000", "1e-5001", "0." + "1" * 5001, "-1e999999999", "1e" + "9" * 600]
)
def test_more_digits_are_refused(text):
    words = "data: column 'x': expected numbers of at most 5,000 digits, without an exponent, got"
    with pytest.raises(table.ColumnError, match=words):
        table.numbers(column("1", text), [Feature(0)])
    with pytest.raises(ValueError, match=words):
        table.labels(column("1", text), 0)


def test_numbers_of_a_file_that_has_numbers_are_these():
    floats = np.array([0.1, -2.5, 1e300])
    for cells in (floats, np.array([2**63, 0, 7], np.uint64), np.array([-(2**63), 1, 7])):
        found = table.numbers(Table("data", ("x",), (cells,)), [Feature(0)])
        values = [value * found.units[0] for value in found.integers[:, 0].tolist()]
        assert values == [Fraction(value) for value in cells.tolist()]
        assert table.labels(Table("data", ("x",), (cells,)), 0).tolist() in (
            cells.tolist(),
            [str(cell) for cell in cells.tolist()],
        )
    holes = Table("data", ("x",), (np.array([0.5, np.nan, np.inf]),))
    for missing in (True, False):
        with pytest.raises(ValueError, match="expected a label in every row, got 'nan' in row 2"):
            table.labels(holes._replace(missing=missing), 0)
    with pytest.raises(table.ColumnError, match="every row, got 'nan' in row 2, 'inf' in row 3"):
        table.numbers(holes, [Feature(0)])


@pytest.mark.parametrize("text", ["0.3_18", "1_0", "1e1_0", "0x10", "٣", "1e" + "9" * 700, "1 0"])
def test_what_only_python_takes_for_a_number_is_none(text):
    with pytest.raises(table.ColumnError, match="expected numbers, got"):
        table.numbers(column(text), [Feature(0)])
    assert table.labels(column("1", text), 0).tolist() == ["1", text]


@given(SPELLED, SPELLED)
def test_labels_that_are_equal_numbers_are_one(one, other):
    """Against fractions, for every way to write a number."""
    values = [Fraction(text) for text in (one, other)]
    equal = values[0] == values[1]
    whole = all(value.denominator == 1 for value in values)
    same = one if "e" in one.lower() else f"{one}e0"
    if not whole and math.inf in map(abs, map(float, (one, other))):
        with pytest.raises(ValueError, match="expected labels that float64 holds"):
            table.labels(column(one, other, same), 0)
        return
    if not whole and not equal and float(one) == float(other):
        with pytest.raises(ValueError, match="float64 tells apart"):
            table.labels(column(one, other, same), 0)
        return
    found = table.labels(column(one, other, same), 0)
    assert (found[0] == found[1]) == equal
    assert found[0] == found[2]
    if not whole:
        assert found[:2].tolist() == list(map(float, values))
    elif max(map(abs, values)) < 2**63:
        assert found[:2].tolist() == values
        assert found.dtype == np.int64
    else:
        assert set(found.tolist()) <= {one, other}


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.3", "0.30000000000000000001"), ("0", "1e-400"), ("1", "0.99999999999999999999")],
)
def test_labels_that_one_float_would_merge_are_refused(one, other):
    with pytest.raises(ValueError, match="expected labels that float64 tells apart, got '"):
        table.labels(column(one, "5", other), 0)
    assert len(set(exact(one, "5", other))) == 3


def test_labels_may_be_spelled_as_missing_ones():
    for text in ("NA", "None", "#REF!", "-nan"):
        with pytest.raises(ValueError, match="expected a label in every row, got"):
            table.labels(column("1", text), 0)
        assert table.labels(column("1", text)._replace(missing=False), 0).tolist() == ["1", text]
    with pytest.raises(ValueError, match="got an empty cell in row 2"):
        table.labels(column("1", "")._replace(missing=False), 0)


def test_the_wrong_columns_are_known_by_their_places():
    cells = [np.array(values, object) for values in (["1"], ["x"], ["2"], [""])]
    with pytest.raises(table.ColumnError, match=r"'b': expected numbers.*; 1 more") as raised:
        table.numbers(
            Table("data", ("a", "b", "c", "d"), tuple(cells)), list(map(Feature, range(4)))
        )
    assert raised.value.columns == [1, 3]


def test_the_label_of_a_text_is_that_of_a_column():
    for text in ("1.0", "9007199254740993", "0.10", "2e400", "-0"):
        assert table.label_of(text) == {"2e400": 2 * 10**400}.get(
            text, table.labels(column(text), 0)[0]
        )
    assert table.label_of("x") is table.label_of("1e999999999") is None
    assert table.label_of("1,5", ",") == 1.5
