"""The checker that stands alone, beside `verify`: on proofs, and on what somebody made of them."""

import ast
import copy
import csv
import json
import pathlib
import random
import runpy
import subprocess
import sys
from fractions import Fraction

import pytest

from logistack.data import sources, table
from logistack.separability import certificate_from_json, certify, separation

PATH = pathlib.Path(__file__).parents[1] / "src" / "logistack" / "separability" / "check.py"
CHECK = runpy.run_path(str(PATH))
KINDS = [
    "Separator", "NothingToSeparate", "CommonPoint", "MultinomialSeparator",
    "MultinomialCommonPoint", "ClassCertificates", "Separation", "MultinomialSeparation",
    "ClassSeparations",
]  # fmt: skip
WORDS = ["finite", "+∞", "-∞", "either", "not identified", "undecided"]


def by_verify(text, inputs, labels):
    """Whether the library says that a proof holds; a ValueError is a no."""
    try:
        return certificate_from_json(text).verify(inputs, labels)
    except ValueError:
        return False


def by_checker(text, inputs, labels):
    """Whether the checker says so."""
    claim = json.loads(text, parse_float=Fraction)
    exact = [list(map(Fraction, row)) for row in inputs]
    labels = [label if isinstance(label, str) else Fraction(label) for label in labels]
    return CHECK["holds"](claim, exact, labels)


def tables(seed, count):
    """Small tables of one to four classes, with ties, duplicates and collinear columns."""
    rng = random.Random(seed)
    names = [0, 1, 2, 3], [0.5, 0.25, 3, -1], ["a", "b", "1", "ß"]
    for number in range(count):
        features, samples = rng.randint(1, 3), rng.randint(2, 7)
        values = rng.choice([range(-1, 2), range(-3, 4), [-0.5, 0.25, 1, 0.75, 2]])
        inputs = [[rng.choice(values) for _ in range(features)] for _ in range(samples)]
        if rng.random() < 0.3:
            inputs = [[*row, 2 * row[0] - row[-1]] for row in inputs]
        classes = rng.choice(names)[: 1 + number % 4]
        if rng.random() < 0.5:  # a line is more often enough
            inputs.sort()
            labels = [classes[place * len(classes) // samples] for place in range(samples)]
        else:
            labels = [rng.choice(classes) for _ in inputs]
        yield inputs, labels


def proofs(seed, count):
    """What `certify` and `separation` prove of such tables, each part on its own as well."""
    rng = random.Random(seed)
    for inputs, labels in tables(seed, count):
        for prove in certify, separation:
            found = prove(inputs, labels)
            yield found, inputs, labels
            if hasattr(found, "multinomial"):
                yield found.multinomial, inputs, labels
                for parts in found.pairs, found.rest:
                    yield rng.choice(list(parts.values())), inputs, labels


@pytest.fixture(scope="module")
def known():
    return [(json.loads(found.to_json()), *table) for found, *table in proofs(0, 60)]


def test_proofs_of_every_kind_hold(known):
    for content, inputs, labels in known:
        text = json.dumps(content)
        assert by_verify(text, inputs, labels), (text, inputs, labels)
        assert by_checker(text, inputs, labels), (text, inputs, labels)
    assert {content["kind"] for content, *_ in known} == set(KINDS)
    coefficients = [c for content, *_ in known for c in content.get("coefficients", [])]
    assert {c["estimate"] for c in coefficients} == set(WORDS) - {"undecided"}
    assert any(content.get("weak_line") for content, *_ in known)


def nodes(value, key=None):
    """Everything in a proof, each with the name that it has, or that its list has."""
    yield key, value
    if isinstance(value, dict):
        for name, part in value.items():
            yield from nodes(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from nodes(part, key)


def is_vector(value):
    return isinstance(value, dict) and "numerators" in value


def change_vector(content, rng, others):
    """Other integers, or the same in another order, or of another vector."""
    vectors = [value for _, value in nodes(content) if is_vector(value)]
    vector = rng.choice(vectors)
    held, length = vector["numerators"], vector["length"]
    place = str(rng.randrange(length)) if length else "0"
    value, denominator = int(held.get(place, "0"), 0), int(vector["denominator"], 0)
    match rng.randrange(9):
        case 0 if length:
            held[place] = str(rng.choice([value + 1, value - 1, -value, 2 * value, 0]))
        case 1:
            vector["denominator"] = str(denominator + rng.choice([1, denominator]))
        case 2 if length:
            other = str(rng.randrange(length))
            held[place], held[other] = held.get(other, "0"), held.get(place, "0")
        case 3:
            vector["numerators"] = {key: str(-int(number, 0)) for key, number in held.items()}
        case 4:  # the same numbers
            vector["numerators"] = {key: str(3 * int(number, 0)) for key, number in held.items()}
            vector["denominator"] = str(3 * denominator)
        case 5:  # along the same line
            vector["numerators"] = {key: str(2 * int(number, 0)) for key, number in held.items()}
        case 6:
            vector["length"] = length + 1
        case 7 if length and str(length - 1) not in held:
            vector["length"] = length - 1
        case _:
            other = rng.choice(vectors)
            for key in vector:
                vector[key], other[key] = other[key], vector[key]


def change_list(content, rng, others):
    """A row less, or twice, or in another place, or of another list."""
    lists = [(key, value) for key, value in nodes(content) if isinstance(value, list)]
    if not lists:
        return
    key, chosen = rng.choice(lists)
    same = [value for name, value in lists if name == key]
    match rng.randrange(4):
        case 0 if chosen:
            chosen.pop(rng.randrange(len(chosen)))
        case 1 if any(same):
            chosen.append(copy.deepcopy(rng.choice(rng.choice(list(filter(None, same))))))
        case 2 if len(chosen) > 1:
            one, other = rng.sample(range(len(chosen)), 2)
            chosen[one], chosen[other] = chosen[other], chosen[one]
        case _:
            other = rng.choice(same)
            chosen[:], other[:] = other[:], chosen[:]


def change_integer(content, rng, others):
    """Another row, direction, class or count."""
    places = []
    for key, value in nodes(content):
        if isinstance(value, list) and key in ("rows", "separated", "gifts"):
            places += [(value, place) for place, item in enumerate(value) if type(item) is int]
        elif isinstance(value, dict):
            places += [(value, name) for name in ("rows", "other") if type(value.get(name)) is int]
    if places:
        owner, place = rng.choice(places)
        owner[place] = rng.choice([owner[place] + 1, max(owner[place] - 1, 0), rng.randrange(9)])


def change_estimate(content, rng, others):
    """Another word, perhaps with what proves it."""
    found = [
        value for _, value in nodes(content) if isinstance(value, dict) and "estimate" in value
    ]
    if found:
        coefficient = rng.choice(found)
        coefficient["estimate"] = rng.choice(WORDS)
        if rng.random() < 0.3:
            coefficient.pop("shares", None)
        if rng.random() < 0.3:
            coefficient.pop("other", None)
        if rng.random() < 0.2:
            coefficient["other"] = rng.randrange(4)


def change_head(content, rng, others):
    """Another kind, or other labels, or what says that it is no proof."""
    heads = [value for _, value in nodes(content) if isinstance(value, dict) and "kind" in value]
    head, other = rng.choice(heads), rng.choice(heads)
    labels = [0, 1, 2, 0.5, 0.25, -1, "a", "b", "1", "ß", 7]
    match rng.randrange(8):
        case 0:
            head["kind"] = rng.choice([*KINDS, f"New{head['kind']}"])
        case 1 if "positive" in head:
            head["positive"] = rng.choice(labels)
        case 2 if "positive" in head:
            head["negative"] = rng.choice([None, *labels])
        case 3 if head.get("negative") is not None:
            head["positive"], head["negative"] = head["negative"], head["positive"]
        case 4 if head.get("others"):
            head["others"][0] = rng.choice(labels)
        case 4 if head.get("classes"):
            head["classes"][0] = rng.choice(labels)
        case 5:
            head["numerical_only"] = True
        case 6:
            head.pop("others", None)
        case _:
            for key in head.keys() & other.keys():
                head[key], other[key] = other[key], head[key]


def change_parts(content, rng, others):
    """What two parts have under one name, or another proof has, in each other's place."""
    named = {}
    for _, value in nodes(content):
        for key in value if isinstance(value, dict) else ():
            named.setdefault(key, []).append(value)
    for one, two in (("all_rows", "other_rows"), ("weights_positive", "weights_negative")):
        if one in named and rng.random() < 0.3:
            owner = rng.choice(named[one])
            owner[one], owner[two] = owner[two], owner[one]
            return
    key = rng.choice(sorted(named))
    one = rng.choice(named[key])
    foreign = rng.choice(others)
    other = foreign if key in foreign and rng.random() < 0.5 else rng.choice(named[key])
    one[key], other[key] = copy.deepcopy(other[key]), copy.deepcopy(one[key])


CHANGES = [
    change_vector, change_vector, change_list, change_integer, change_estimate, change_head,
    change_parts,
]  # fmt: skip


def test_of_ten_thousand_changed_proofs_both_say_the_same(known):
    rng = random.Random(1)
    held = 0
    # Those of many classes take longest, and most of their parts are left as they are.
    alone = [proof for proof in known if "pairs" not in proof[0]]
    for number in range(10_000):
        content, inputs, labels = rng.choice(known if number % 10 == 0 else alone)
        content = copy.deepcopy(content)
        others = [copy.deepcopy(rng.choice(alone)[0])]
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            rng.choice(CHANGES)(content, rng, others)
        text = json.dumps(content)
        said = by_verify(text, inputs, labels)
        assert by_checker(text, inputs, labels) == said, (text, inputs, labels)
        held += said
    assert 500 < held < 5_000


def test_it_is_short_and_needs_python_alone():
    lines = PATH.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 190
    assert max(map(len, lines)) <= 100
    imported = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    assert imported <= sys.stdlib_module_names


def run(proof, data):
    """What it prints, and its exit status, in an interpreter that finds no package."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PATH), str(proof), str(data)],
        capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout, done.returncode


ROWS = [[0.5, "true", 1], [-1.25, "FALSE", 0], [2, "false", 1], [1e1, "True", 0]]
LABELS = {"numbers": ["1", "0", "0.0", "1.0"], "texts": ["1", "n;o", "n;o", 'y"es']}


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("kind", LABELS)
def test_it_reads_tables_as_the_command_does(tmp_path, header, mark, kind):
    data, proof = tmp_path / "data.csv", tmp_path / "proof.json"
    names = ["x", "of use", "class", "y"]
    with open(data, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=mark)
        if header:
            writer.writerow(names)
        for (x, use, y), label in zip(ROWS, LABELS[kind], strict=True):
            writer.writerow([x, use, label, f" {y} "])
    read = sources.read(data, header=header)
    labels = table.labels(read, 2)
    for prove in certify, separation:
        found = prove(table.numbers(read, [*map(table.Feature, (0, 1, 3))]), labels)
        named = {"target": read.names[2], "features": [read.names[place] for place in (0, 1, 3)]}
        content = json.loads(found.to_json()) | named
        proof.write_text(json.dumps(content), encoding="utf-8")
        assert run(proof, data) == ("holds\n", 0)
        proof.write_text(json.dumps(content | {"numerical_only": True}), encoding="utf-8")
        assert run(proof, data) == ("does not hold\n", 1)


def test_a_proof_of_other_data_does_not_hold(tmp_path):
    data, proof = tmp_path / "data.csv", tmp_path / "proof.json"
    content = json.loads(certify([[0], [1]], [0, 1]).to_json())
    proof.write_text(json.dumps(content | {"target": 1, "features": [0]}))
    for text, status in (
        ("0,0\n1,1\n", 0),
        ("0,0\n\n1.0,1\n", 0),
        ("0,0\n-1,1\n", 1),
        ("0,0\n1,a", 1),
    ):
        data.write_text(text)
        assert run(proof, data)[1] == status


def test_it_knows_levels_and_rows_that_are_left_out(tmp_path):
    data, proof = tmp_path / "data.csv", tmp_path / "proof.json"
    rows = ["age,sex,port,class", "22,m,S,no", "38,f,C,yes", ",f,S,yes", "35,m,Q,no", "26,f,Q,yes"]
    data.write_text("\n".join(rows))
    found = separation([[22, 1, 0], [38, 0, 0], [35, 1, 1], [26, 0, 1]], ["no", "yes", "no", "yes"])
    named = {"target": "class", "features": ["age", ["sex", "m"], ["port", "Q"]], "left_out": [2]}
    content = json.loads(found.to_json()) | named
    proof.write_text(json.dumps(content))
    assert run(proof, data) == ("holds, without the rows [3]\n", 0)
    proof.write_text(json.dumps(content | {"features": ["age", ["sex", "f"], ["port", "Q"]]}))
    assert run(proof, data)[1] == 1
    proof.write_text(json.dumps(content | {"left_out": [2, 3]}))
    assert run(proof, data)[1] == 1
