"""Certificates as JSON.

Reading takes time and memory in proportion to the text, whatever it claims: zeros are counted and
not made, and numbers stay over the denominator that they are written with.
"""

import json
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from logistack.separability.certificates import (
    Certificate,
    CommonPoint,
    Line,
    NothingToSeparate,
    Separator,
    to_text,
)
from logistack.separability.classes import (
    ClassCertificates,
    MultinomialCommonPoint,
    MultinomialSeparator,
)
from logistack.separability.data import Label
from logistack.separability.rational import Keyed, Numbers
from logistack.separability.separations import (
    ClassSeparations,
    Coefficient,
    MultinomialSeparation,
    Rank,
    Recession,
    Separation,
)

FORMAT = "logistack certificate 1"
PLACE = re.compile(r"0|[1-9][0-9]{0,17}")
INTEGER = re.compile(r"-?([0-9]{1,4000}|0x[0-9a-f]+)")
"""Decimal, where Python reads it in a moment, or hexadecimal. Never Python's 1_000 or 0b11."""
MOST = 10**12
"""No table has more samples, or features."""
LONGEST_SINGLE = 2**19
"""In bits. A number that stands alone is brought to its lowest terms: the square of its length."""

Content = dict[str, Any]


def certificate_from_json(text: str | bytes) -> Certificate:
    """Reads a certificate that `to_json` wrote. It has no data: give `verify` both.

    Args:
        text: JSON.

    Returns:
        A certificate of the kind that was written, such as a `Separator` or a `Separation`.
        Numbers come as sequences that make a fraction when it is asked for.

    Raises:
        ValueError: if the text is not a certificate.

    >>> separator = Separator((Fraction(1),), Fraction(-1, 2), Fraction(1, 2))
    >>> certificate_from_json(separator.to_json()).verify([[0], [1]], [0, 1])
    True
    """
    try:
        return _read(json.loads(text))
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"text: expected a certificate as to_json writes it, got {error!r}"
        ) from error


@to_text.register
def to_json(certificate: Certificate) -> str:
    """What `certificate.to_json` returns."""
    return json.dumps(_content(certificate), ensure_ascii=False)


def _content(certificate: Certificate) -> Content:
    head = {"format": FORMAT, "kind": type(certificate).__name__}
    return {**head, **_fields(certificate), "numerical_only": certificate.numerical_only}


def _fields(certificate: Certificate) -> Content:
    match certificate:
        case Separator():  # of which NothingToSeparate is one
            return {
                **_sides(certificate),
                "weight": _numbers(certificate.weight),
                "bias": _numbers([certificate.bias]),
                "margin": _numbers([certificate.margin]),
            }
        case CommonPoint(weak_line=line):
            return {
                **_sides(certificate),
                "point": _numbers(certificate.point),
                "weights_positive": _numbers(certificate.weights_positive),
                "weights_negative": _numbers(certificate.weights_negative),
                "weak_line": line
                and {"weight": _numbers(line.weight), "bias": _numbers([line.bias])},
                "undecided": certificate.undecided,
            }
        case Separation():
            return {**_sides(certificate), **_recession(certificate)}
        case MultinomialSeparation():
            return {"classes": list(certificate.classes), **_recession(certificate)}
        case MultinomialSeparator():
            return {
                "classes": list(certificate.classes),
                "weight": [_numbers(weight) for weight in certificate.weight],
                "bias": _numbers(certificate.bias),
                "margin": _numbers([certificate.margin]),
            }
        case MultinomialCommonPoint():
            number = {label: place for place, label in enumerate(certificate.classes)}
            weights = Keyed.of(certificate.weights)
            return {
                "classes": list(certificate.classes),
                "gifts": [[sample, number[label]] for sample, label in weights],
                "weights": _numbers(weights.numbers),
            }
        case ClassCertificates() | ClassSeparations():
            return {
                "classes": list(certificate.classes),
                "pairs": [_content(part) for part in certificate.pairs.values()],
                "rest": [_content(part) for part in certificate.rest.values()],
                "multinomial": _content(certificate.multinomial),
            }
    raise TypeError(f"expected a certificate that has a text, got {type(certificate).__name__}")


def _recession(certificate: Recession) -> Content:
    return {
        "rows": certificate.rows,
        "separated": list(certificate.separated),
        "directions": list(map(_numbers, certificate.directions)),
        "weights": _by_row(certificate.weights),
        "all_rows": _rank(certificate.all_rows),
        "other_rows": _rank(certificate.other_rows),
        "coefficients": list(map(_coefficient, certificate.coefficients)),
    }


def _rank(rank: Rank) -> Content:
    return {"rows": list(rank.rows), "null": list(map(_numbers, rank.null))}


def _coefficient(coefficient: Coefficient) -> Content:
    content: Content = {"estimate": coefficient.estimate}
    if coefficient.other is not None:
        content["other"] = coefficient.other
    if coefficient.shares is not None:
        content["shares"] = _by_row(coefficient.shares)
    return content


def _by_row(values: Mapping[int, Fraction]) -> Content:
    keyed = Keyed.of(values)
    return {"rows": list(keyed), "numbers": _numbers(keyed.numbers)}


def _sides(certificate: Separator | CommonPoint | Separation) -> Content:
    sides: Content = {"positive": certificate.positive, "negative": certificate.negative}
    return sides if certificate.others is None else {**sides, "others": list(certificate.others)}


def _numbers(values: Iterable[Fraction]) -> Content:
    """Integers over their common denominator, those that are not 0 by place."""
    numbers = Numbers.of(values)
    return {
        "length": len(numbers),
        "denominator": _integer(numbers.denominator),
        "numerators": {str(place): _integer(value) for place, value in numbers.numerators.items()},
    }


def _integer(value: int) -> str:
    """Decimal, or hexadecimal beyond what Python turns into decimal by default."""
    return str(value) if value.bit_length() <= 10_000 else hex(value)


def _read(content: Content) -> Certificate:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}")
    common = {"numerical_only": _of_kind("numerical_only", content["numerical_only"], bool)}
    match content["kind"]:
        case "Separator" | "NothingToSeparate" as kind:
            return (Separator if kind == "Separator" else NothingToSeparate)(
                _read_numbers(content["weight"]),
                _read_number("bias", content["bias"]),
                _read_number("margin", content["margin"]),
                **_read_sides(content),
                **common,
            )
        case "CommonPoint":
            line = content["weak_line"]
            if line is not None:
                line = Line(_read_numbers(line["weight"]), _read_number("bias", line["bias"]))
            return CommonPoint(
                _read_numbers(content["point"]),
                _read_numbers(content["weights_positive"]),
                _read_numbers(content["weights_negative"]),
                line,
                undecided=_of_kind("undecided", content.get("undecided", line is None), bool),
                **_read_sides(content),
                **common,
            )
        case "MultinomialSeparator":
            return MultinomialSeparator(
                tuple(map(_read_numbers, content["weight"])),
                _read_numbers(content["bias"]),
                _read_number("margin", content["margin"]),
                _read_labels("classes", content["classes"]),
                **common,
            )
        case "MultinomialCommonPoint":
            classes = _read_labels("classes", content["classes"])
            gifts = [
                (_read_count(sample), classes[_read_count(number)])
                for sample, number in content["gifts"]
            ]
            weights = Keyed(gifts, _read_numbers(content["weights"]))
            if not len(weights) == len(gifts) == len(weights.numbers):
                raise ValueError("gifts that are twice there, or have no weight")
            return MultinomialCommonPoint(weights, classes, **common)
        case "ClassCertificates":
            two, many = Separator | CommonPoint, MultinomialSeparator | MultinomialCommonPoint
            return ClassCertificates(**_read_parts(content, two, many), **common)
        case "Separation":
            return Separation(**_read_recession(content), **_read_sides(content), **common)
        case "MultinomialSeparation":
            classes = _read_labels("classes", content["classes"])
            return MultinomialSeparation(**_read_recession(content), classes=classes, **common)
        case "ClassSeparations":
            parts = _read_parts(content, Separation, MultinomialSeparation)
            return ClassSeparations(**parts, **common)
    raise ValueError(f"kind {content['kind']!r}")


def _read_parts(content: Content, two: Any, many: Any) -> Content:
    pairs, rest = (
        [_of_kind(name, _read(part), two) for part in content[name]] for name in ("pairs", "rest")
    )
    by_pair = {(part.negative, part.positive): part for part in pairs}
    by_class = {part.positive: part for part in rest}
    if (len(by_pair), len(by_class)) != (len(pairs), len(rest)):
        raise ValueError("parts that are twice there")
    return {
        "classes": _read_labels("classes", content["classes"]),
        "pairs": by_pair,
        "rest": by_class,
        "multinomial": _of_kind("multinomial", _read(content["multinomial"]), many),
    }


def _read_recession(content: Content) -> Content:
    return {
        "rows": _read_count(content["rows"]),
        "separated": tuple(map(_read_count, content["separated"])),
        "directions": tuple(map(_read_numbers, content["directions"])),
        "weights": _read_by_row(content["weights"]),
        "all_rows": _read_rank(content["all_rows"]),
        "other_rows": _read_rank(content["other_rows"]),
        "coefficients": tuple(map(_read_coefficient, content["coefficients"])),
    }


def _read_rank(content: Content) -> Rank:
    rows = tuple(map(_read_count, content["rows"]))
    return Rank(rows, tuple(map(_read_numbers, content["null"])))


def _read_coefficient(content: Content) -> Coefficient:
    other, shares = content.get("other"), content.get("shares")
    return Coefficient(
        _of_kind("estimate", content["estimate"], str),
        None if other is None else _read_count(other),
        None if shares is None else _read_by_row(shares),
    )


def _read_by_row(content: Content) -> Keyed[int]:
    rows = [_read_count(row) for row in content["rows"]]
    numbers = Keyed(rows, _read_numbers(content["numbers"]))
    if not len(numbers) == len(rows) == len(numbers.numbers):
        raise ValueError("rows that are twice there, or have no number")
    return numbers


def _read_sides(content: Content) -> Content:
    others = content.get("others")
    return {
        "positive": _of_kind("positive", content["positive"], Label),
        "negative": _of_kind("negative", content["negative"], Label | None),
        "others": None if others is None else _read_labels("others", others),
    }


def _read_labels(name: str, values: Any) -> tuple[Label, ...]:
    labels = tuple(_of_kind(name, label, Label) for label in _of_kind(name, values, list))
    if len(set(labels)) != len(labels):
        raise ValueError(f"{name} with a label twice")
    return labels


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} {value!r}")
    return value


def _read_count(number: Any) -> int:
    if type(number) is not int or not 0 <= number <= MOST:
        raise ValueError(f"{number!r} as a count")
    return number


def _read_numbers(content: Content) -> Numbers:
    length, denominator = _read_count(content["length"]), _read_integer(content["denominator"])
    if denominator < 1:
        raise ValueError(f"the denominator {content['denominator'][:20]}")
    numerators = {}
    for key, text in content["numerators"].items():
        if not PLACE.fullmatch(key) or int(key) >= length:
            raise ValueError(f"the place {key!r} of {length}")
        value = _read_integer(text)
        if value:
            numerators[int(key)] = value
    return Numbers(length, denominator, numerators)


def _read_integer(text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError(f"the integer {text[:20]!r}")
    return int(text, 16) if "x" in text else int(text)


def _read_number(name: str, content: Content) -> Fraction:
    numbers = _read_numbers(content)
    if numbers.bits() > LONGEST_SINGLE:
        raise ValueError(f"a {name} of {numbers.bits():,} bits")
    (number,) = numbers
    return number
