"""Exact numbers: every float is an integer times a power of two, and integers add up exactly.

What a certificate's `verify` needs is here and uses integers alone; the solver of linear systems
is FLINT's.
"""

import decimal
import math
import numbers
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from logistack import _checks

Key = TypeVar("Key", bound=Hashable)
PRIME = 2**61 - 1
"""A Mersenne prime. What is independent modulo a prime is independent."""
BLOCK_BITS = 2**27
"""As many bits of products are held at once."""
PIECE_BITS, MOST_PIECES = 31, 8
WHOLE = 2**53
"""Below, no two integers are one float64."""


class Columns(NamedTuple):
    """A matrix of rational numbers, column j being `integers[:, j]` times `units[j]`."""

    integers: np.ndarray
    """(rows, columns), int64 of at most 62 bits where they fit, Python integers elsewhere."""
    units: list[Fraction]
    """Above 0: powers of two for floats, of ten for decimals."""

    @classmethod
    def of(cls, columns: Sequence[Sequence[Fraction]]) -> "Columns":
        """Columns of fractions, each over its least common denominator."""
        found = [over_common_denominator(column) for column in columns]
        integers = np.array([values for values, _ in found], object).T
        return cls(narrowed(integers), [Fraction(1, denominator) for _, denominator in found])

    def take(self, rows: Any) -> "Columns":
        """Some of the rows, by number or by whether."""
        return self._replace(integers=self.integers[rows])

    def over_one_denominator(self) -> tuple[list[int], int]:
        """Integers and the denominator that makes them the units."""
        return over_common_denominator(self.units)

    def bits(self) -> int:
        """How long the longest number would be as an integer over a denominator of them all."""
        largest = max(int(self.integers.max()), -int(self.integers.min()))
        return largest.bit_length() + max(self.over_one_denominator()[0]).bit_length() - 1


class Numbers(Sequence[Fraction]):
    """Fractions over one denominator, of which only those that are not 0 are held.

    A text of a hundred bytes can claim ten million zeros, and a fraction in lowest terms takes
    the square of its length to find. Both wait here until somebody asks for the numbers.
    """

    def __init__(self, length: int, denominator: int, numerators: Mapping[int, int]) -> None:
        self.length = length
        self.denominator = denominator
        """At least 1, and not always the least."""
        self.numerators = numerators
        """Those that are not 0, by place."""

    @classmethod
    def of(cls, values: Iterable[Fraction]) -> "Numbers":
        """Fractions over their least common denominator; `Numbers` as they are."""
        if isinstance(values, cls):
            return values
        integers, denominator = over_common_denominator(values)
        held = {place: value for place, value in enumerate(integers) if value}
        return cls(len(integers), denominator, held)

    def over(self, denominator: int) -> "Numbers":
        """The same over a multiple of the denominator."""
        factor = denominator // self.denominator
        held = {place: value * factor for place, value in self.numerators.items()}
        return Numbers(self.length, denominator, held)

    def bits(self) -> int:
        """How long the longest integer is."""
        longest = max(map(int.bit_length, self.numerators.values()), default=0)
        return max(longest, self.denominator.bit_length())

    def all_bits(self) -> int:
        """How long all integers are together."""
        return self.denominator.bit_length() + sum(map(int.bit_length, self.numerators.values()))

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, place: int) -> Fraction: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Fraction, ...]: ...

    def __getitem__(self, place: int | slice) -> Fraction | tuple[Fraction, ...]:
        if isinstance(place, slice):
            return tuple(self[index] for index in range(self.length)[place])
        index = range(self.length)[place]
        return Fraction(self.numerators.get(index, 0), self.denominator)

    def __iter__(self) -> Iterator[Fraction]:
        return (self[index] for index in range(self.length))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Numbers | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{self.length:,} fractions, {len(self.numerators):,} of them not 0>"


class Keyed(Mapping[Key, Fraction]):
    """Such fractions, each with a key."""

    def __init__(self, keys: Iterable[Key], numbers: Numbers) -> None:
        self.places = {key: place for place, key in enumerate(keys)}
        """Of the keys among the numbers."""
        self.numbers = numbers

    @classmethod
    def of(cls, values: Mapping[Key, Fraction]) -> "Keyed[Key]":
        """Fractions over their least common denominator; `Keyed` as they are."""
        return values if isinstance(values, cls) else cls(values, Numbers.of(values.values()))

    def __getitem__(self, key: Key) -> Fraction:
        return self.numbers[self.places[key]]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))


def columns_of(name: str, array: Any) -> Columns:
    """The exact values of a matrix of numbers; `Columns` as they are.

    Raises:
        TypeError: if they are no real numbers, wider floats than 64 bits, masked or traced.
        ValueError: if the shape is wrong, or a number is NaN or infinite.
    """
    if isinstance(array, Columns):
        return array
    if isinstance(array, jax.core.Tracer):
        raise TypeError(f"{name}: expected concrete numbers, got the tracer {array}")
    if _checks.has_mask(array):
        raise TypeError(f"{name}: expected an array of numbers, got a masked array")
    given = array
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: expected an array of numbers, got {error}") from error
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: expected (samples, features), at least one of each, got shape {array.shape}"
        )
    if array.dtype.kind in "bu" or np.issubdtype(array.dtype, np.integer):
        if array.dtype.kind == "m":
            raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
        return Columns(narrowed(array), [Fraction(1)] * array.shape[1])
    if array.dtype == object:
        return _columns_of_objects(name, array)
    if not jnp.issubdtype(array.dtype, np.floating) or array.dtype.itemsize > 8:
        raise TypeError(
            f"{name}: expected real numbers of at most 64 bits, got dtype {array.dtype}"
        )
    array = array.astype(np.float64)
    bad = array.size - np.isfinite(array).sum()
    if bad:
        raise ValueError(f"{name}: expected finite values, got {bad} NaN or ±inf of {array.size}")
    if not isinstance(given, np.ndarray | jax.Array) and np.abs(array).max() >= WHOLE:
        # NumPy finds one type for all: it makes 9007199254740992.0 of 9007199254740993 beside 0.5.
        return _columns_of_objects(name, np.asarray(_rows_as_given(given), object))

    mantissas, exponents = np.frexp(array)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    exponents = exponents.astype(np.int64) - 53
    # Zeros at the end of a mantissa go to the exponent, so that pixels stay small integers.
    zeros = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    zeros = np.where(integers == 0, 0, zeros)
    integers >>= zeros
    exponents += zeros
    lowest = np.where(integers == 0, 10**4, exponents).min(axis=0)
    shifts = np.where(integers == 0, 0, exponents - lowest)
    bits = np.frexp(np.abs(integers).astype(np.float64))[1] + shifts
    if bits.max() > 62:
        integers, shifts = integers.astype(object), shifts.astype(object)
    lowest = np.where(lowest == 10**4, 0, lowest)
    return Columns(integers << shifts, [Fraction(2) ** power for power in lowest.tolist()])


def narrowed(integers: np.ndarray) -> np.ndarray:
    """Integers as int64 where they fit: beyond 62 bits the negative of an int64 may be none."""
    wide = max(int(integers.max(initial=0)), -int(integers.min(initial=0))) >= 1 << 62
    return integers.astype(object if wide else np.int64)


def _columns_of_objects(name: str, array: np.ndarray) -> Columns:
    """Of numbers as Python has them: integers of any size, fractions, decimals and floats."""

    def exact(value: Any) -> Fraction:
        plain = getattr(value, "item", None) or getattr(value, "as_py", None)  # NumPy, Arrow
        value = plain() if plain else value
        if isinstance(value, numbers.Rational):
            return Fraction(value)
        if not isinstance(value, float | decimal.Decimal):
            raise TypeError(f"{name}: expected real numbers, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name}: expected finite values, got {value!r}")
        return Fraction(value)

    return Columns.of([[exact(value) for value in column] for column in array.T])


def _rows_as_given(given: Any) -> Any:
    """The rows of a frame, of whose columns NumPy sees what the frame makes of them together."""
    if hasattr(given, "itertuples"):  # pandas
        return list(given.itertuples(index=False))
    return given.rows() if hasattr(given, "rows") else given  # Polars


def require_unrounded(name: str, given: Sequence[Any], array: Sequence[Any]) -> None:
    """Checks that the values of an array are those of the list that NumPy made it of.

    NumPy finds one type for all: of 9007199254740993 beside 0.5 it makes 9007199254740992.0, and
    of 1 beside "1" it makes "1". Python compares integers, floats and strings exactly.
    """
    for before, after in zip(given, array, strict=True):
        plain = getattr(before, "item", None) or getattr(before, "as_py", None)  # NumPy, Arrow
        before = plain() if plain else before
        if before != after:
            raise ValueError(
                f"{name}: expected values of one kind, got {before!r}, which would become "
                f"{after!r} beside the others"
            )


def dot(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """`matrix @ vector`, exact unless they are floats.

    An int64 matrix is multiplied by the digits of the vector, in a base of so few bytes that the
    sums stay below 2⁶³, the lowest digits first. With the carries passed on, the sums are the
    digits of the products. Columns whose numbers have no more digits are left out, so that the
    work is in proportion to the digits there are. A matrix of longer numbers is taken in two parts
    of their bits. Any other is multiplied by Python's integers.
    """
    if matrix.dtype == object:
        return _dot_of_objects(matrix, vector)
    if matrix.dtype != np.int64:
        return matrix @ vector
    held = np.flatnonzero(vector)
    if 2 * len(held) < len(vector):
        return dot(matrix[:, held], vector[held])
    largest = max(int(matrix.max(initial=0)), -int(matrix.min(initial=0)))
    longest = max(int(vector.max(initial=0)), -int(vector.min(initial=0)))
    if max(largest, 1) * longest * matrix.shape[1] < 1 << 62:
        return (matrix @ vector.astype(np.int64)).astype(object)
    size = (62 - largest.bit_length() - matrix.shape[1].bit_length()) // 8
    if size < 1 and largest.bit_length() > 31:
        return dot(matrix & 2**31 - 1, vector) + (dot(matrix >> 31, vector) << 31)
    if size < 1:
        return _dot_of_objects(matrix.astype(object), vector)
    digits = [_digits(int(value), size) for value in vector]
    count, active = max(map(len, digits), default=0), len(digits)
    if active * count > 2 * sum(map(len, digits)):
        # The longest numbers first, so that those with digits left are the first so many.
        order = sorted(range(active), key=lambda place: -len(digits[place]))
        digits, matrix = [digits[place] for place in order], matrix[:, order]
    else:
        digits = [np.pad(number, (0, count - len(number))) for number in digits]
    found = np.empty((len(matrix), count, size), np.uint8)
    carry = np.zeros(len(matrix), np.int64)
    for place in range(count):
        while len(digits[active - 1]) <= place:
            active -= 1
        carry += matrix[:, :active] @ np.array([number[place] for number in digits[:active]])
        found[:, place] = _bytes(carry)[:, :size]
        carry >>= 8 * size
    rows = np.concatenate([found.reshape(len(matrix), count * size), _bytes(carry)], axis=1)
    products = np.empty(len(matrix), object)
    products[:] = [int.from_bytes(row.tobytes(), "little", signed=True) for row in rows]
    return products


def pieces(matrix: np.ndarray) -> tuple[np.ndarray, ...]:
    """Parts of a matrix, the k-th times 2 ** (31 k), that `dot_of` multiplies faster than Python.

    Numbers of very many bits are left to Python, and so is what is short or floats.
    """
    if matrix.dtype != object:
        return (matrix,)
    longest = max(int(matrix.max(initial=0)), -int(matrix.min(initial=0))).bit_length()
    if longest > PIECE_BITS * MOST_PIECES:
        return (matrix,)
    found = []
    for _ in range(longest // PIECE_BITS):
        found.append((matrix & (1 << PIECE_BITS) - 1).astype(np.int64))
        matrix = matrix >> PIECE_BITS
    return (*found, matrix.astype(np.int64))


def dot_of(parts: Sequence[np.ndarray], vector: np.ndarray) -> np.ndarray:
    """`matrix @ vector` for the pieces of a matrix."""
    total = dot(parts[0], vector)
    for place, part in enumerate(parts[1:], 1):
        total = total + (dot(part, vector) << PIECE_BITS * place)
    return total


def _dot_of_objects(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The same by Python's integers, the longest last: a sum is as long as what is in it so far."""
    order = sorted(np.flatnonzero(vector), key=lambda place: abs(vector[place]))
    return matrix[:, order] @ vector[order]


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.astype("<i8").view(np.uint8).reshape(-1, 8)


def _digits(value: int, size: int) -> np.ndarray:
    """The digits of an integer in base 256 ** size, the lowest first, each with its sign."""
    count = -(-value.bit_length() // (8 * size))
    content = np.zeros((count, 8), np.uint8)
    magnitude = np.frombuffer(abs(value).to_bytes(count * size, "little"), np.uint8)
    content[:, :size] = magnitude.reshape(count, size)
    return content.view("<i8")[:, 0] * (1 if value >= 0 else -1)


def blocks(rows: int, bits: int) -> Iterator[slice]:
    """So many rows at a time that what is made of them, of so many bits each, fits in memory."""
    size = max(1, BLOCK_BITS // (bits + 512))
    return (slice(start, start + size) for start in range(0, rows, size))


def over_common_denominator(values: Iterable[Fraction]) -> tuple[list[int], int]:
    """Integers and the denominator that makes them the values."""
    values = list(values)
    denominator = math.lcm(*(value.denominator for value in values))
    return [value.numerator * (denominator // value.denominator) for value in values], denominator


def rounded(value: Fraction, bits: int) -> Fraction:
    """The nearest number of so many significant bits."""
    if not value:
        return value
    shift = bits - (value.numerator.bit_length() - value.denominator.bit_length())
    scale = Fraction(2) ** shift
    return Fraction(round(value * scale)) / scale


def three_digits(value: Fraction) -> str:
    """Three significant digits in decimal, also of what lies beyond the range of floats."""
    context = decimal.Context(prec=3)
    quotient = context.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))
    number = float(quotient)
    return f"{number:.3g}" if 1e-300 < abs(number) < 1e300 else f"{quotient:.3g}"


def independent(rows: Sequence[Sequence[int]]) -> list[int]:
    """Columns of a matrix that are linearly independent, nearly always as many as its rank.

    They are independent modulo `PRIME`, and so exactly. That all others depend on them is not
    certain: modulo 2⁶¹ - 1 the numbers 1 and 2⁶¹ are equal. Whoever needs it has to check it.
    """
    import flint

    if not rows:
        return []
    modulo = flint.nmod_mat(
        len(rows), len(rows[0]), [value % PRIME for row in rows for value in row], PRIME
    )
    return _pivots(*modulo.rref())


def _pivots(reduced: Any, rank: int) -> list[int]:
    """The first column that is not zero of every row of an echelon form."""
    found, column = [], 0
    for row in range(rank):
        while not int(reduced[row, column]):
            column += 1
        found.append(column)
    return found


def solve(matrix: Sequence[Sequence[int]], right: Sequence[int]) -> list[Fraction]:
    """The solution of a square system of full rank."""
    return [row[0] for row in solve_all(matrix, [[value] for value in right])]


def solve_all(
    matrix: Sequence[Sequence[int]], right: Sequence[Sequence[int]]
) -> list[list[Fraction]]:
    """The solutions of a square system of full rank, one for each column of the right side."""
    import flint

    if not matrix or not right:
        return [[] for _ in matrix]
    solution = flint.fmpz_mat(matrix).solve(flint.fmpz_mat(right))
    return [[Fraction(int(value.p), int(value.q)) for value in row] for row in solution.tolist()]


def null_space(matrix: Sequence[Sequence[int]]) -> np.ndarray:
    """A basis of the vectors that a matrix takes to zero, as the columns of an integer matrix."""
    import flint

    basis, count = flint.fmpz_mat(matrix).nullspace()
    columns = [[int(basis[row, column]) for column in range(count)] for row in range(basis.nrows())]
    return np.array(columns, object).reshape(basis.nrows(), count)


def pivots(rows: Sequence[Sequence[int]]) -> list[int]:
    """Columns of a matrix that are linearly independent, as many as its rank, with certainty."""
    import flint

    if not rows or not rows[0]:
        return []
    reduced, _, rank = flint.fmpz_mat(rows).rref()
    return _pivots(reduced, rank)


def solve_modulo(matrix: Sequence[Sequence[int]], right: Sequence[int]) -> list[int]:
    """The solution modulo `PRIME` of a square system that is regular there."""
    import flint

    if not matrix:
        return []
    size = len(matrix)
    system = flint.nmod_mat(size, size, [value % PRIME for row in matrix for value in row], PRIME)
    solution = system.solve(flint.nmod_mat(size, 1, list(right), PRIME))
    return [int(value) for value in solution.entries()]
