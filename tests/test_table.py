"""Tables are read as they are written, or not at all."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logistack.data import table
from logistack.data.table import Table


def column(*cells):
    return Table("data", ("x",), (np.array(cells, object),))


def read(tmp, text, **options):
    path = Path(tmp, "data.csv")
    path.write_text(text)
    return table.read(path, **options)


def test_columns_have_names_or_positions(tmp_path):
    found = read(tmp_path, 'a, "b" \n1,x\n 2 ,y\n')
    assert found.names == ("a", "b")
    assert [cells.tolist() for cells in found.columns] == [["1", "2"], ["x", "y"]]
    found = read(tmp_path, "1;x\n2;y\n", header=False)
    assert found.names == (0, 1)
    assert table.find(found, "-1") == 1
    assert table.find(found, "2") is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
@example([1e23, -1.7976931348623157e308, 5e-324, 2.0**53, 1e16, -0.0])
def test_every_float_survives_its_text(values):
    for texts in (map(repr, values), (f"{value:.17g}" for value in values)):
        found = table.numbers(column(*texts), [0])
        assert found[:, 0].tobytes() == np.array(values).tobytes()


@given(st.floats(min_value=2.0**53, max_value=1e40))
def test_every_large_float_survives_all_of_its_digits(value):
    for text in (str(int(value)), f"{value:.3f}", f"-{value:.45e}"):
        assert abs(table.numbers(column(text), [0])[0, 0]) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=25, min_value=-9, max_value=9))
def test_decimal_text_is_the_nearest_float(value):
    found = Fraction(float(table.numbers(column(f"{value}"), [0])[0, 0]))
    neighbors = [Fraction(float(np.nextafter(float(found), to))) for to in (-np.inf, np.inf)]
    assert all(abs(found - Fraction(value)) <= abs(other - Fraction(value)) for other in neighbors)


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740993",
        "9007199254740993.0",
        "-9007199254740993.",
        "9007199254740993e0",
        "9.007199254740993e15",
        "90071992547409930e-1",
        "9007199254740992.5",
        "18446744073709551615.0",
        "1.00000000000000000000001e23",
        "99999999999999999999999",
        "100000000000000000000000",
    ],
)
def test_what_float64_would_round_is_refused(text):
    with pytest.raises(table.NumbersError, match="integers that float64 holds exactly, got"):
        table.numbers(column("1", text), [0])


@pytest.mark.parametrize("text", ["0.3_18", "1_0", "1e1_0", "0x10", "٣", "1e" + "9" * 5000, "1 0"])
def test_what_only_python_takes_for_a_number_is_none(text):
    with pytest.raises(table.NumbersError, match="expected numbers, got"):
        table.numbers(column(text), [0])
    assert table.labels(column("1", text), 0).tolist() == ["1", text]


@given(st.data())
def test_equal_numbers_have_one_decimal(data):
    """Against fractions, for every way to write a number."""
    digits = st.text("0123456789", max_size=4)
    texts = st.builds(
        "{}{}.{}{}".format,
        st.sampled_from(["", "+", "-"]),
        st.text("0123456789", min_size=1, max_size=4),
        digits,
        st.sampled_from(["", "e0", "e-3", "E+2", "e5"]),
    )
    one, other = data.draw(texts), data.draw(texts)
    assert (table._decimal(one) == table._decimal(other)) == (Fraction(one) == Fraction(other))
    assert table._decimal(one) == table._decimal(f"{one}e0" if "e" not in one.lower() else one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.3", "0.30000000000000000001"), ("0", "1e-400"), ("1", "0.99999999999999999999")],
)
def test_numbers_that_one_float_would_merge_are_refused(one, other):
    with pytest.raises(ValueError, match="expected labels that float64 tells apart, got '"):
        table.labels(column(one, "5", other), 0)
    with pytest.raises(table.NumbersError, match="expected numbers that float64 tells apart, got"):
        table.numbers(column(one, "5", other), [0])
    for read_column in (table.labels, lambda cells, place: table.numbers(cells, [place])[:, 0]):
        assert len(set(read_column(column(one, f"{one}e0", f"+{one}"), 0).tolist())) == 1


def test_the_wrong_columns_are_known_by_their_places():
    cells = [np.array(values, object) for values in (["1"], ["x"], ["2"], [""])]
    with pytest.raises(table.NumbersError, match=r"'b': expected numbers.*; 1 more") as raised:
        table.numbers(Table("data", ("a", "b", "c", "d"), tuple(cells)), [0, 1, 2, 3])
    assert raised.value.columns == [1, 3]
