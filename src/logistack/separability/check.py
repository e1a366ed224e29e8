"""python check.py PROOF.JSON DATA.CSV: whether a proof holds for a table, by fractions alone.

A direction d has weights and a bias for every class but the first, whose score is 0. For a sample
x and a class k that it is not of, the row z has (x, 1) where d has the numbers of the sample's own
class, -(x, 1) where it has those of k, else 0: z · d is the own score less that of k. Two sides
are two classes, the positive one last, so that z = ±(x, 1).
"""

import csv
import json
import re
import sys
from fractions import Fraction
from itertools import combinations
from pathlib import Path

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
PRIME = 2**61 - 1
PARTS = {  # what proofs for many classes consist of: for two sides, and for all classes at once
    "ClassCertificates": ("Separator CommonPoint", "MultinomialSeparator MultinomialCommonPoint"),
    "ClassSeparations": ("Separation", "MultinomialSeparation"),
}


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def mix(weights, rows):  # Σ weight · row
    return [dot(weights.values(), column) for column in zip(*(rows[key] for key in weights))]


def vector(held):  # written as integers over one denominator, without those that are 0
    values, denominator = [Fraction(0)] * held["length"], int(held["denominator"], 0)
    for place, value in held["numerators"].items():
        values[int(place)] = Fraction(int(value, 0), denominator)
    return values


def keyed(rows, numbers):
    if len(set(rows)) < len(rows):
        raise ValueError("a row is there twice")
    return dict(zip(rows, vector(numbers), strict=True))


def independent(rows):  # modulo a prime, and therefore also as they are
    rows = [[x.numerator * pow(x.denominator, -1, PRIME) % PRIME for x in row] for row in rows]
    while rows and any(rows[-1]):
        last = rows.pop()
        k = next(k for k, x in enumerate(last) if x)
        last = [x * pow(last[k], -1, PRIME) for x in last]
        rows = [[(x - row[k] * y) % PRIME for x, y in zip(row, last)] for row in rows]
    return not rows


def holds(claim, inputs, labels):
    try:
        return all(conditions(claim, inputs, labels))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False  # it has not even the form of a proof


def conditions(claim, inputs, labels):
    kind, known = claim["kind"], set(labels)
    yield claim["format"] == "logistack certificate 1" and claim["numerical_only"] is False
    many = kind in PARTS or kind.startswith("Multinomial")
    pair = not many and claim["negative"] is not None
    if many:
        classes = claim["classes"]
    else:  # one class and another, or all others
        others = [claim["negative"]] if pair else claim.get("others", known - {claim["positive"]})
        classes = [*others, claim["positive"]]
    yield len(set(classes)) == len(classes)
    yield set(classes) <= known if pair else set(classes) == known
    yield (len(classes) == 1) == (kind == "NothingToSeparate") or kind == "Separation"
    if kind in PARTS:
        sides = {"pairs": [*combinations(classes, 2)], "rest": [(None, y) for y in classes]}
        for name, wanted in sides.items():
            found = [(part["negative"], part["positive"]) for part in claim[name]]
            yield len(found) == len(wanted) and set(found) == set(wanted)
        whole = claim["multinomial"]
        yield whole["classes"] == classes
        for part in [*claim["pairs"], *claim["rest"], whole]:
            yield part["kind"] in PARTS[kind][part is whole].split() and holds(part, inputs, labels)
        return
    number = {y: k if many else int(y == classes[-1]) for k, y in enumerate(classes)}
    own = {i: number[y] for i, y in enumerate(labels) if y in number}
    points = {i: [*inputs[i], Fraction(1)] for i in own}
    last = max(number.values())
    rows = {
        (i, k): [((c == own[i]) - (c == k)) * v for c in range(1, last + 1) for v in points[i]]
        for i in own
        for k in range(last + 1)
        if k != own[i]
    }
    if kind in ("Separation", "MultinomialSeparation"):
        order = enumerate(rows.values()) if many else ((i, row) for (i, _), row in rows.items())
        yield from recession(claim, dict(order))
    elif kind == "MultinomialCommonPoint":  # the classes exchange samples, and no mean changes
        gifts = keyed([(i, k) for i, k in claim["gifts"]], claim["weights"])
        yield min(gifts.values()) > 0 and sum(gifts.values()) == 1 and not any(mix(gifts, rows))
    elif kind == "CommonPoint":  # both sides mix to it
        for side, name in enumerate(("weights_negative", "weights_positive")):
            weights = keyed([i for i in own if own[i] == side], claim[name])
            yield min(weights.values()) >= 0
            yield mix(weights, points) == [*vector(claim["point"]), 1]
        if (line := claim["weak_line"]) is not None:
            d = vector(line["weight"]) + vector(line["bias"])
            yield all(dot(row, d) >= 0 for row in rows.values())
            yield any(dot(row, d) for row in rows.values())
    else:  # a Separator, a MultinomialSeparator or NothingToSeparate
        weights = [vector(weight) for weight in (claim["weight"] if many else [claim["weight"]])]
        biases = vector(claim["bias"])
        if not many:
            weights, biases = [[0] * len(weights[0]), *weights], [0, *biases]
        lines = [[*weight, bias] for weight, bias in zip(weights, biases, strict=True)]
        d = [x - y for line in lines[1:] for x, y in zip(line, lines[0], strict=True)]
        margin = min(dot(row, d) for row in rows.values())
        yield len(lines) == last + 1 and margin > 0 and [margin] == vector(claim["margin"])
        squares = [sum((x - y) ** 2 for x, y in zip(a, b)) for a, b in combinations(weights, 2)]
        if kind == "NothingToSeparate":
            yield max(squares) == 0 and margin == 1
        else:  # the margin is a distance
            yield kind in ("Separator", "MultinomialSeparator")
            yield abs(max(squares) - 1) < Fraction(1, 2**40)


def recession(claim, rows):
    first, *_ = directions = [vector(d) for d in claim["directions"]]
    rest = {i: row for i, row in rows.items() if i not in claim["separated"]}
    yield claim["rows"] == len(rows) == len(rest) + len(claim["separated"])
    yield all(dot(row, d) >= 0 for row in rows.values() for d in directions)
    yield all(dot(rows[i], first) > 0 for i in claim["separated"])
    weights = dict.fromkeys(rest, Fraction(1)) | keyed(**claim["weights"])  # no others are
    yield weights.keys() == rest.keys() and all(weight > 0 for weight in weights.values())
    yield not any(mix(weights, rest))
    spaces = []  # what is orthogonal to all rows, to the rest; and whether it is all that is so
    for name, part in ("all_rows", rows), ("other_rows", rest):
        null = [vector(d) for d in claim[name]["null"]]
        yield independent([part[i] for i in claim[name]["rows"]]) and independent(null)
        yield all(len(d) == len(first) for d in null)
        yield not any(dot(row, d) for row in part.values() for d in null)
        spaces.append((null, len(null) + len(claim[name]["rows"]) == len(first)))
    yield len(claim["coefficients"]) == len(first)
    for k, coefficient in enumerate(claim["coefficients"]):
        still, rest_still = (whole and not any(d[k] for d in null) for null, whole in spaces)
        match coefficient["estimate"], coefficient.get("other"), coefficient.get("shares"):
            case "undecided", None, None:
                pass  # which claims nothing
            case "not identified", None, None:
                yield any(d[k] for d in spaces[0][0])
            case "finite", None, None:
                yield rest_still
            case "either", int(other), None:
                yield still and other > 0 and first[k] * directions[other][k] < 0
            case "+∞" | "-∞" as word, None, dict(held):
                sign, shares, (null, whole) = int(word[0] + "1"), keyed(**held), spaces[1]
                yield whole and sign * first[k] > 0 and min(shares.values()) >= 0
                yield all(dot(mix(shares, rows), d) == sign * d[k] for d in null)
            case _:
                yield False


def read(text, target, features, left_out=()):
    heading = "".join(text.strip().split("\n")[0].split('"')[::2])  # without what is quoted
    mark = next(mark for mark in "\t;," if mark in heading)
    lines = (line + "\n" for line in text.split("\n"))
    cells = [row for row in csv.reader(lines, delimiter=mark, skipinitialspace=True) if row]
    cells = [[cell.strip() for cell in row] for row in cells]
    names = cells.pop(0) if isinstance(target, str) else range(len(cells[0]))
    cells = [row for place, row in enumerate(cells) if place not in left_out]
    columns = dict(zip(dict.fromkeys(names), zip(*cells, strict=True), strict=True))
    words, labels, table = {"true": "1", "false": "0"}, columns[target], []
    for feature in features:  # the numbers of a column, or whether its text is a level
        if isinstance(feature, list):
            table.append([Fraction(v == feature[1]) for v in columns[feature[0]]])
        else:
            table.append([Fraction(words.get(v.lower(), v)) for v in columns[feature]])
    numeric = all(map(NUMBER.fullmatch, labels))
    return list(zip(*table)), [Fraction(y) if numeric else y for y in labels]


if __name__ == "__main__":
    proof, data = (Path(path).read_text("utf-8-sig") for path in sys.argv[1:])
    claim = json.loads(proof, parse_float=Fraction)
    left = claim.get("left_out", [])
    answer = holds(claim, *read(data, claim["target"], claim["features"], left))
    without = f", without the rows {[row + 1 for row in left]}" if left else ""
    print(("holds" if answer else "does not hold") + without)
    sys.exit(not answer)
