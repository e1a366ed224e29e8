"""The command `logistack`: its proofs, its words, and what it refuses."""

import dataclasses
import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

import logistack
from logistack import cli, separability

XOR = "a,b,class\n0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n"
SQUARE = ((0, 0), (0, 1), (1, 0), (1, 1))
AND = "a,b,class\n0,0,0\n0,1,0\n1,0,0\n1,1,1\n"
SCRIPT = Path(sys.executable).parent / "logistack"
FOLDER = Path(os.environ.get("LOGISTACK_DATA", "nowhere")) / "tabular"

needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason="LOGISTACK_DATA has no tabular files")
needs_script = pytest.mark.skipif(not SCRIPT.is_file(), reason="logistack's script is missing")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs the command in this process."""

    def run(*words):
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as ended:  # of tyro
            status = ended.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def refused(run):
    """The one line of an error, which leaves no proof behind."""

    def refused(*words):
        status, out, error = run(*words)
        assert status == 2
        assert out == ""
        assert error.startswith("logistack: ")
        assert error.count("\n") == 1
        assert not Path("proof.json").exists()
        return error

    return refused


def write(text, name="data.csv"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def certified(run, text, *options):
    """What `certify` says of a table, once `verify` agrees."""
    status, out, error = run("certify", write(text), "--target", "class", *options)
    assert (status, error) == (0, "")
    status, checked, error = run("verify", "proof.json", "data.csv")
    assert (status, error) == (0, "")
    answer = out.split("The proof is in")[0]
    assert re.sub(r"proof.json holds for data.csv. Proven.*:\n", "", checked) == answer != checked
    return answer


def test_xor_has_a_proof_in_words_and_in_a_file(run):
    status, out, error = run("certify", write(XOR), "--target", "class")
    size = Path("proof.json").stat().st_size
    assert (status, error) == (0, "")
    assert out == (
        "data.csv: 4 samples, 2 features; labels in column 'class': 'no' (2), 'yes' (2)\n"
        "Features: a, b\n"
        "No line is enough for the 2 samples labeled 'yes' and the 2 labeled 'no': one point is "
        "a mixture of 2 of the former, and of 2 of the latter.\n"
        "Rows of the mixed samples: 1-4.\n"
        "What may help: a stack with a hidden layer may be without errors where no line is.\n"
        f"The proof is in proof.json, {size:,} bytes. To check it:\n"
        "  logistack verify proof.json data.csv\n"
    )
    content = json.loads(Path("proof.json").read_bytes())
    assert content["target"] == "class"
    assert content["features"] == ["a", "b"]


def test_a_tilde_is_the_home_folder_and_a_url_is_refused_before_work(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    status, out, _ = run("certify", write(XOR), "--target", "class", "--out", "~/proof.json")
    assert (status, (tmp_path / "home" / "proof.json").exists()) == (0, True)
    assert f"logistack verify {tmp_path}/home/proof.json" in out
    status, out, err = run("certify", write(XOR), "--target", "class", "--out", "s3://b/p.json")
    assert (status, out) == (2, "")
    assert err.startswith("logistack: --out: expected a path in the local file system")


def test_python_reads_the_proof_too(run):
    run("certify", write(XOR), "--target", "class")
    proof = separability.certificate_from_json(Path("proof.json").read_bytes())
    assert proof == separability.certify(
        [[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"]
    )


def test_a_line_is_enough_for_and(run):
    assert (
        "A line is enough: it has the 1 sample labeled 1 on one side and the 3 labeled 0 on the "
        "other. The nearest is 0.354 away from it."
    ) in certified(run, AND)


def test_the_check_it_names_works_in_a_shell(run):
    out = Path("a folder") / "a proof.json"
    _, said, _ = run("certify", write(AND, "my data.csv"), "--target", "class", "--out", out)
    words = shlex.split(said.splitlines()[-1])
    assert words == ["logistack", "verify", str(out), "my data.csv"]
    assert run(*words[1:])[0] == 0


@needs_files
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sonar", ["208 samples, 60 features", "A line is enough", "111", "97"]),
        ("ionosphere", ["351 samples, 34 features", "No line is enough", "hulls only touch"]),
        ("pima-indians-diabetes", ["768 samples, 8 features", "No line is enough"]),
        ("banknote_authentication", ["1,372 samples, 4 features", "No line is enough"]),
    ],
)
def test_real_files(run, name, words):
    data = FOLDER / f"{name}.csv"
    status, out, _ = run("certify", data, "--target", "-1", "--no-header")
    assert status == 0
    status, checked, _ = run("verify", "proof.json", data)
    assert status == 0
    for word in words:
        assert word in out
        assert word in checked
    assert ("only touch" in out) == (name == "ionosphere")


def iris():
    data = datasets.load_iris()
    rows = [
        ",".join([*map(repr, row), data.target_names[target]])
        for row, target in zip(data.data.tolist(), data.target, strict=True)
    ]
    return "\n".join(["a,b,c,d,class", *rows])


def test_three_classes_make_a_table(run):
    # Which samples prove it is the solver's choice.
    out = re.sub("[0-9]+ and [0-9]+ samples", "some and some samples", certified(run, iris()))
    assert re.sub("of [0-9]+ samples", "of some samples", out).splitlines()[2:-2] == [
        "Pairs:",
        "  'setosa'      and  'versicolor'   a line is enough, margin 0.818",
        "  'setosa'      and  'virginica'    a line is enough, margin 1.57",
        "  'versicolor'  and  'virginica'    no line is enough, some and some samples mix to one point",
        "Classes against the rest:",
        "  'setosa'      and  the rest       a line is enough, margin 0.818",
        "  'versicolor'  and  the rest       no line is enough, some and some samples mix to one point",
        "  'virginica'   and  the rest       no line is enough, some and some samples mix to one point",
        "All at once: no linear classifier is enough, an exchange of some samples keeps every mean.",
    ]


def test_mixtures_name_the_first_class_first(run):
    out = certified(run, "x,class\n0,0\n2,0\n1,1\n9,2\n")
    assert "0  and  1          no line is enough, 2 and 1 samples mix" in out
    assert "1  and  the rest   no line is enough, 1 and 2 samples mix" in out


def test_three_classes_that_a_classifier_separates(run):
    out = certified(run, "a,b,class\n0,0,x\n1,0,y\n0,1,z\n")
    assert "All at once: a linear classifier is enough, margin 0." in out


def test_positive_asks_for_one_class_against_the_others(run):
    out = certified(run, iris(), "--positive", "setosa")
    assert "the 50 samples labeled 'setosa'" in out
    assert "the 100 labeled 'versicolor', 'virginica'" in out


@pytest.mark.parametrize("label", ["2", "2.0", "+2", " 2"])
def test_positive_matches_labels_that_are_numbers(run, label):
    assert "labeled 2 on one side" in certified(
        run, "x,class\n0,0\n1,1.0\n2,2\n", "--positive", label
    )


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("0 1 1.0 0.0", "0 (2), 1 (2)"),
        ("0.5 1 1 5e-1", "0.5 (2), 1.0 (2)"),
        ("1 01 1 b", "'01' (1), '1' (2), 'b' (1)"),
        ("9007199254740993 9007199254740992", "9007199254740992 (1), 9007199254740993 (1)"),
        ("0.1 0.10 1e-1 0.5", "0.1 (3), 0.5 (1)"),
        ("1e20 100000000000000000000 7", "'1e20' (2), '7' (1)"),
        ("été 類 類 été", "'été' (2), '類' (2)"),
        ('"u,v" "u,v" "w""" w', "'u,v' (2), 'w' (1), 'w\"' (1)"),
        ("True False True True", "'False' (1), 'True' (3)"),
        ("0x10 1_0 1 1", "'0x10' (1), '1' (2), '1_0' (1)"),
    ],
)
def test_labels_that_are_numbers_are_compared_as_numbers_and_others_as_text(run, labels, classes):
    rows = [f"{row},{label}" for row, label in enumerate(labels.split(" "))]
    out = certified(run, "\n".join(["x,class", *rows]))
    assert f"labels in column 'class': {classes}\n" in out


@pytest.mark.parametrize("label", [0, 1, -3, "only"])
def test_one_label_alone_is_trivially_separable(run, label):
    out = certified(run, f"x,class\n1,{label}\n2,{label}\n")
    assert f"There is nothing to separate: every sample has the label {label!r}." in out


def test_a_proof_of_one_label_holds_for_no_other(run):
    run("certify", write("a,b,class\n0,0,0\n1,1,0\n"), "--target", "class")
    for labels in ("0220", "2222", "1001", "0110"):
        rows = [f"{x},{y},{label}" for (x, y), label in zip(SQUARE, labels, strict=True)]
        status, out, _ = run("verify", "proof.json", write("\n".join(["a,b,class", *rows])))
        assert status == 1
        assert f"it is about 0, the data have {min(labels)}" in out


@pytest.mark.parametrize("label", ["NaN", "1e400", "-Infinity", str(10**400), "7", '"0"', "0"])
@pytest.mark.parametrize("labels", ["0220", "abba"])
def test_no_forged_label_makes_one_side_empty(run, label, labels):
    rows = [f"{x},{y},{name}" for (x, y), name in zip(SQUARE, labels, strict=True)]
    run("certify", write("\n".join(["a,b,class", *rows])), "--target", "class")
    proof = json.loads(Path("proof.json").read_bytes())
    for kind in ("Separator", "NothingToSeparate"):
        forged = json.loads(separability.certify([[0, 0], [1, 1]], [0, 0]).to_json()) | {
            "kind": kind,
            "target": proof["target"],
            "features": proof["features"],
        }
        text = json.dumps(forged)
        write(text.replace('"positive": 0', f'"positive": {label}'), "forged.json")
        status, out, error = run("verify", "forged.json", "data.csv")
        assert (status, error) == (1, "")
        assert "DOES NOT HOLD" in out
        write(text.replace('"negative": null', '"negative": 0'), "forged.json")
        assert run("verify", "forged.json", "data.csv")[0] == 1


def test_a_constant_feature_does_no_harm(run):
    assert "A line is enough" in certified(run, "a,k,class\n0,7,0\n1,7,1\n")
    assert "No line is enough" in certified(run, "k,class\n7,0\n7,1\n")


def test_true_and_false_are_1_and_0(run):
    certified(run, "a,b,class\nTrue,FALSE,0\nfalse,true,1\n")
    proof = separability.certificate_from_json(Path("proof.json").read_bytes())
    assert proof.verify([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert not proof.verify([[0.0, 1.0], [1.0, 0.0]], [0, 1])


@pytest.mark.parametrize(
    "text",
    [
        "a;b;class\n0;0;no\n0;1;yes\n1;0;yes\n1;1;no\n",
        "a\tb\tclass\r\n0\t0\tno\r\n0\t1\tyes\r\n1\t0\tyes\r\n1\t1\tno",
        "\ufeff" + XOR,
        '"a","b","class"\n"0","0","no"\n"0","1","yes"\n"1","0","yes"\n"1","1","no"\n',
        XOR.replace("\n", "\n\n"),
        XOR.replace(",", " , "),
        '"a;x",b,class\n' + XOR.split("\n", 1)[1],
        "a;b, in metres;class\n" + XOR.split("\n", 1)[1].replace(",", ";"),
        XOR.replace("no", ' "no"').replace("yes", ' "yes"'),
        XOR.replace(",", "|"),
        "  " + XOR.replace(",", "  \t ").replace("\n", " \n  "),
        "sep=;\r\n" + XOR.replace(",", ";"),
        XOR.replace("a,b", "a,b_;"),
        XOR.replace("a,b", '"a\n;","b\n;;"'),
        XOR.encode("utf-16"),
    ],
    ids=[
        *("semicolons", "tabs", "byte order mark", "quotes", "empty lines", "blanks"),
        *(
            "quoted semicolon",
            "comma and semicolons",
            "blanks and quotes",
            "bars",
            "runs of blanks",
        ),
        *("sep", "semicolon in a name", "newlines in names", "utf-16"),
    ],
)
def test_other_spellings_of_a_table(run, text):
    assert "No line is enough for the 2 samples labeled 'yes' and the 2 labeled 'no'" in (
        certified(run, text)
    )
    first, second = json.loads(Path("proof.json").read_bytes())["features"]
    assert (first[0], second[0]) == ("a", "b")


def test_columns_may_stand_in_another_order(run):
    run("certify", write(iris()), "--target", "class")
    rows = [line.split(",") for line in iris().splitlines()]
    order = random.Random(0).sample(range(5), 5)
    assert order != sorted(order)
    write("\n".join(",".join(row[column] for column in order) for row in rows))
    assert run("verify", "proof.json", "data.csv")[0] == 0


def test_a_column_more_is_left_out_and_said_so(run):
    run("certify", write(XOR), "--target", "class")
    rows = XOR.splitlines()
    write("\n".join(f"{row},{'id' if place == 0 else 'x'}" for place, row in enumerate(rows)))
    status, out, _ = run("verify", "proof.json", "data.csv")
    assert status == 0
    assert "Left out: 1 column ('id')\n" in out


def test_ignored_columns_take_no_part(run):
    text = "id,class,a,when\n" + "0,no,1,mon\n1,yes,1,\n2,no,3,tue\n"
    out = certified(run, text, "--ignore", "id", "-1")
    assert "3 samples, 1 feature;" in out
    assert "Left out: 2 columns ('id', 'when')\n" in out
    assert "No line is enough" in out


@pytest.mark.parametrize("target", ["2", "-1"])
def test_without_a_header_columns_go_by_position(run, target):
    data = write(XOR.split("\n", 1)[1])
    status, out, _ = run("certify", data, "--target", target, "--no-header", "--ignore", "0")
    assert status == 0
    assert "4 samples, 1 feature; labels in column 2 (the first is 0): 'no' (2)" in out
    content = json.loads(Path("proof.json").read_bytes())
    assert (content["target"], content["features"]) == (2, [1])
    assert run("verify", "proof.json", data)[0] == 0


def test_only_the_target_may_have_a_number_for_a_name(run):
    status, out, _ = run("certify", write("a,b,7\n5,0,0\n6,1,1\n"), "--target", "7")
    assert status == 0
    assert "2 samples, 2 features; labels in column '7'" in out


def test_a_name_goes_before_a_position(run):
    status, out, _ = run("certify", write("1,0,2\n5,0,7\n6,1,8\n"), "--target", "0", "--header")
    assert status == 0
    assert "2 samples, 2 features; labels in column '0'" in out


def test_a_proof_knows_how_its_data_were_read(run):
    text = "größe;b;class\n0,5;0;NA\n0,25;1;NA\n1;0;none\n1;1;none\n".encode("cp1252")
    options = ["--encoding", "cp1252", "--decimal", ",", "--no-missing"]
    out = certified(run, text, *options)
    assert (
        "'NA' (2), 'none' (2)\nFeatures: größe, b\nRead with --encoding cp1252 --decimal , --no-missing\n"
        in out
    )
    content = json.loads(Path("proof.json").read_bytes())
    assert content["features"] == ["größe", "b"]
    assert content["reading"] == {"encoding": "cp1252", "decimal": ",", "missing": False}
    for wrong in ([], {"decimal": ";"}, {"missing": 0}, {"header": True}, {"encoding": None}):
        write(json.dumps({**content, "reading": wrong}), "proof.json")
        status, _, error = run("verify", "proof.json", "data.csv")
        assert status == 2
        assert 'proof.json: expected as "reading" how the data were read, got ' in error


def test_the_data_may_be_the_standard_input(run, monkeypatch):
    for words in (["certify", "-", "--target", "class"], ["verify", "proof.json", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(XOR.encode())))
        status, out, error = run(*words)
        assert (status, error) == (0, "")
        assert "standard input: 4 samples, 2 features" in out


def test_a_first_row_without_names_needs_a_word(run):
    text = "true,false,0\nfalse,true,1\n"
    status, _, error = run("certify", write(text), "--target", "-1")
    assert status == 2
    assert "the first row has the value 'true': say --no-header" in error
    assert run("certify", "data.csv", "--target", "-1", "--no-header")[0] == 0
    assert run("verify", "proof.json", "data.csv")[0] == 0
    # Sodium is a name beside others.
    assert run("certify", write("Na,Mg,class\n1,2,0\n"), "--target", "class")[0] == 0


def touching(random):
    """A small table of integers whose hulls touch: the second class is beyond a line or on it."""
    normal = random.integers(-3, 4, 2)
    points = random.integers(-9, 10, (12, 2))
    sides = points @ normal
    labels = np.where(sides == 0, random.integers(0, 2, 12), sides > 0)
    middle = np.array([[-1, -1], [1, 1], [0, 0]]) * [-normal[1], normal[0]]
    return np.concatenate([points, middle]), np.concatenate([labels, [0, 0, 1]])


def test_tenths_have_the_answers_of_integers(run):
    random, weak = np.random.default_rng(0), 0
    for _ in range(190):
        points, labels = touching(random)
        table = "".join(
            f"{x / 10},{y / 10},{label}\n" for (x, y), label in zip(points, labels, strict=True)
        )
        assert run("certify", write(f"x,y,class\n{table}"), "--target", "class")[0] == 0
        found = separability.certificate_from_json(Path("proof.json").read_bytes())
        expected = separability.certify(points, labels)
        assert type(found) is type(expected)
        assert (found.weak_line is None) == (expected.weak_line is None)
        if expected.weak_line is not None:
            weak += 1
            # The lines are equal up to a factor; ten times the bias belongs to the integers.
            ours = [*found.weak_line.weight, 10 * found.weak_line.bias]
            other = [*expected.weak_line.weight, expected.weak_line.bias]
            place = next(place for place, value in enumerate(other) if value)
            factor = ours[place] / other[place]
            assert factor > 0
            assert ours == [factor * value for value in other]
    assert weak > 150


def test_a_spent_budget_leaves_numbers_that_are_no_proof(run, monkeypatch):
    found = separability.certify([[0], [1]], ["no", "yes"])
    guess = dataclasses.replace(found, numerical_only=True)
    monkeypatch.setattr(separability, "certify", lambda *_, **__: guess)
    status, out, _ = run("certify", write("x,class\n0,no\n1,yes\n"), "--target", "class")
    assert status == 1
    assert "Not proven, numerical only: A line is enough" in out
    assert "no proof" in out
    status, out, _ = run("verify", "proof.json", "data.csv")
    assert status == 1
    assert "proof.json DOES NOT HOLD for data.csv: it has an answer in floating point" in out


def test_one_part_that_is_numerical_only_is_enough_to_be_no_proof(run, monkeypatch):
    found = separability.certify([[0], [1], [2]], [0, 1, 2])
    part = dataclasses.replace(found.pairs[0, 1], numerical_only=True)
    guess = dataclasses.replace(found, pairs={**found.pairs, (0, 1): part})
    monkeypatch.setattr(separability, "certify", lambda *_, **__: guess)
    status, out, _ = run("certify", write("x,class\n0,0\n1,1\n2,2\n"), "--target", "class")
    assert status == 1
    assert "margin 0.5 (numerical only, not proven)\n" in out
    assert run("verify", "proof.json", "data.csv")[0] == 1


def test_what_does_not_verify_is_not_written(run, monkeypatch):
    wrong = separability.certify([[0], [1]], [0, 1])
    monkeypatch.setattr(separability, "certify", lambda *_, **__: wrong)
    status, out, error = run("certify", write("x,class\n0,0\n0.5,1\n"), "--target", "class")
    assert status == 2
    assert "enough" not in out
    assert "does not hold and is not written" in error
    assert not Path("proof.json").exists()


def test_no_time_for_any_answer(run):
    status, _, error = run("certify", write(XOR), "--target", "class", "--budget", "1e-9")
    assert status == 2
    assert error == (
        "logistack: budget: expected more seconds, these were over before there was any answer\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,class\n1,,0\n2,NA,1\n3,nan,0\n4,5,1\n5,?,1\n", "column 'b': expected a number in every row, got an empty cell in row 1, 'NA' in row 2, 'nan' in row 3, and 1 more (to leave out the rows of missing values: --drop-missing; to leave out: --ignore b)"),
        ("a,b,class\n1,3,0\n2,-Infinity,1\n", "column 'b': expected a number in every row, got '-Infinity' in row 2"),
        ("a,b,class\n1,3,0\n2,1e999999999,1\n", "data.csv: column 'b': expected numbers of at most 5,000 digits, without an exponent, got '1e999999999' in row 2"),
        ("a,b,class\n1,3,0\n2,-1e-5001,1\n", "column 'b': expected numbers of at most 5,000 digits, without an exponent, got '-1e-5001' in row 2"),
        ("a,b,class\n1,3,0\n2,1" + 5000 * "0" + ",1\n", "data.csv: column 'b': expected numbers of at most 5,000 digits, without an exponent, got '1000"),
        ("a,b,class\n1,3,0\n2,3,1e999999999\n", "data.csv: column 'class': expected numbers of at most 5,000 digits, without an exponent, got '1e999999999' in row 2"),
        ("a,b,class\n1,3,0.5\n2,3,1e999\n", "column 'class': expected labels that float64 holds, got '1e999' in row 2"),
        ("a,b,class\n1,3," + 1001 * "x" + "\n", "column 'class': expected labels of at most 1,000 characters, got 'xxxx"),
        ("a b,c d,class\nx,y,0\n", "column 'a b': expected numbers, got 'x' in row 1; 1 more column like this (to make features of text: --one-hot; to leave out: --ignore 'a b' 'c d')"),
        ("a,b,class\n1,2024-01-31,0\n", "column 'b': expected numbers, got '2024-01-31' in row 1"),
        ("a,b,class\n1,true,0\n2,1,1\n", "column 'b': expected numbers, got 'true' in row 1"),
        ('a;b;class\n1;"2,5";0\n', "column 'b': expected numbers, got '2,5' in row 1 (try --decimal ,)"),
        ("a,b,class\n1,#DIV/0!,0\n", "column 'b': expected a number in every row, got '#DIV/0!' in row 1"),
        ("a,b,class\n1,3,#REF!\n2,3,-nan\n", "column 'class': expected a label in every row, got '#REF!' in row 1, '-nan' in row 2"),
        ("a,b,class\n1,1_0,0\n", "column 'b': expected numbers, got '1_0' in row 1"),
        ("a,b,class\n1,٣,0\n", "column 'b': expected numbers, got '٣' in row 1"),
        ("a,a,class\n1,3,0\n2,9,1\n", "expected columns of different names, got 2 columns 'a'"),
        (",a,class\n0,3,0\n1,9,1\n", "column 0 (the first is 0) has no name (a row number?)"),
        ("a,b\n1,3\n2,9\n", "--target: no column 'class' in data.csv, which has the 2 columns 'a', 'b'"),
        ("a,b,class\n1,3,0\n2,9,\n", "column 'class': expected a label in every row, got an empty cell in row 2"),
        ("a,b,class\n1,3,0\n2,9,NaN\n", "column 'class': expected a label in every row, got 'NaN' in row 2"),
        ("a,b,class\n1,3,0\n2\n", "column 'b': expected a number in every row, got an empty cell in row 2"),
        ("a,b,class\n1,3,0\n2,9,1,5\n", "expected rows as long as the first, 3 cells, got 4 in line 3"),
        ('a,b,class\n1,"3,0\n2,9,1\n', "expected rows as long as the first, got a quotation mark that is not closed"),
        ("a,b,class\n", "expected samples, got one row alone, which is the header"),
        ("class\n0\n1\n", "expected columns separated by tabs, semicolons, commas, bars or blanks, as many in every row, got the first line 'class'"),
        ("class;\n0;\n", "column 1 (the first is 0) has no name"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        (b"a,class\n1,\xe4\n", "expected text in UTF-8, got the byte 0xe4 at position 10 (try --encoding cp1252 or latin-1)"),
        ("a,class\n1,0\n".encode("utf-16")[:-1], "expected text in UTF-16, got the byte"),
        ("a,class\n1,\0\n", "expected text, got the byte 0x00"),
        ("3.5,2,class\n1,2,0\n", "the first row has the number '3.5': say --no-header if it is a sample"),
        ("true,NaN,class\n1,2,0\n", "the first row has the value 'true': say --no-header if it is a sample, or --header"),
        ("a,class\n" + "".join(f"{n},{n}\n" for n in range(101)), "column 'class': expected at most 100 different labels, got 101: is this the target?"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_numbers_and_labels_is_refused(refused, text, words):
    assert words in refused("certify", write(text), "--target", "class")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "-1", "--no-header"], "column 0: expected numbers, got 'a' in row 1; 1 more column like this (if row 1 is a header, leave --no-header out)"),
        (["--target", "class", "--no-header"], "--target: no column 'class' in data.csv, which has the columns 0 to 2, or -3 to -1"),
        (["--target", "3"], "--target: no column '3'"),
        (["--target", "-4"], "--target: no column '-4'"),
        (["--target", "class", "--ignore", "z"], "--ignore: no column 'z' in data.csv, which has the 3 columns 'a', 'b', 'class'"),
        (["--target", "class", "--ignore", "2"], "--ignore: expected columns other than the target, got 'class'"),
        (["--target", "class", "--ignore", "a", "b"], "expected a feature beside the target, got no other column"),
        (["--target", "class", "--positive", "maybe"], "--positive: expected one of the labels 'no', 'yes', got 'maybe'"),
        (["--target", "class", "--budget", "0"], "--budget: expected seconds above 0, got 0"),
        (["--target", "class", "--budget", "nan"], "--budget: expected seconds above 0, got nan"),
        (["--target", "class", "--budget", "long"], "--budget: expected a number of seconds, got 'long'"),
        (["--target", "class", "--budget", "6_00"], "--budget: expected a number of seconds, got '6_00'"),
        (["--target", "0_2"], "--target: no column '0_2'"),
        (["--target", "class", "--out", "."], "--out: expected the name of a file, got the folder ."),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(refused, options, words):
    assert words in refused("certify", write(XOR), *options)


def test_the_data_are_never_overwritten(refused, folder):
    error = refused("certify", write(XOR), "--target", "class", "--out", folder / "data.csv")
    assert "--out: expected another file than the data's" in error
    assert Path("data.csv").read_text() == XOR


def test_many_wrong_columns_make_one_short_line(refused):
    names = ",".join(f"f{number}" for number in range(40))
    error = refused("certify", write(f"{names},class\n{'x,' * 40}0\n"), "--target", "class")
    assert "; 39 more columns like this" in error
    assert len(error) < 300
    error = refused("certify", "data.csv", "--target", "z")
    assert error.endswith(
        "which has the 41 columns "
        + ", ".join(repr(f"f{number}") for number in range(12))
        + ", ...\n"
    )


def test_many_labels_make_one_short_line(run):
    write("".join(f"{number},{number}\n" for number in range(11)))
    command = ("certify", "data.csv", "--target", "1", "--no-header", "--positive")
    _, out, _ = run(*command, "0")
    assert "9 (1), ... (11 in all)\n" in out
    _, _, error = run(*command, "11")
    assert error.endswith("labels 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (11 in all), got '11'\n")


def test_files_that_cannot_be_read(refused, folder):
    assert "nix.csv: No such file or directory" in refused("certify", "nix.csv", "--target", "y")
    assert "nix.json: No such file or directory" in refused("verify", "nix.json", "nix.csv")
    assert "Is a directory" in refused("certify", folder, "--target", "y")


def test_a_link_to_itself_is_an_error(run, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    status, _, error = run("certify", write(XOR), "--target", "class", "--out", loop)
    assert (status, error.count("\n")) == (2, 1)
    assert f"{loop}: Too many levels" in error


def test_a_proof_that_cannot_be_written_is_an_error(run):
    status, out, error = run("certify", write(XOR), "--target", "class", "--out", "data.csv/proof")
    assert status == 2
    assert "No line is enough" in out
    assert "The proof is in" not in out
    assert error.startswith("logistack: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: XOR, "got no JSON (the proof comes first, then the data)"),
        (lambda text: text.encode("utf-16"), "got no JSON"),
        (lambda text: "[" * 100_000, "got no JSON"),
        (lambda text: "[]", "expected a proof as logistack certify writes it"),
        (lambda text: text[:-1], "got no JSON"),
        (lambda text: text.replace("certificate 1", "certificate 2"), "'logistack certificate 2'"),
        (lambda text: text.replace('"features"', '"f"'), 'names of different columns as "target"'),
        (lambda text: text.replace('["a", "b"]', '["a", "a"]'), "names of different columns"),
        (lambda text: text.replace('["a", "b"]', '["a", "class"]'), "names of different columns"),
        (lambda text: text.replace('["a", "b"]', '["a", 1]'), "names of different columns"),
        (lambda text: text.replace('["a", "b"]', '["a", []]'), "names of different columns"),
        (lambda text: text.replace('["a", "b"]', '["a", "z"]'), "proof.json is about the column 'z', data.csv has the 3 columns 'a', 'b', 'class'"),
        (lambda text: text.replace('"length": 2', '"length": 1e99'), "expected a proof"),
        (lambda text: text.replace('"length": 2', f'"length": {10**18}'), "expected a proof"),
        (lambda text: text.replace('"denominator": "2"', '"denominator": "0"'), "expected a proof"),
    ],
)  # fmt: skip
def test_what_is_no_proof_is_refused(run, change, words):
    run("certify", write(XOR), "--target", "class")
    changed = change(Path("proof.json").read_text())
    assert changed != Path("proof.json").read_text()
    write(changed, "proof.json")
    status, out, error = run("verify", "proof.json", "data.csv")
    assert (status, out) == (2, "")
    assert words in error
    assert error.count("\n") == 1


def changed_numbers(content):
    """The content with one number changed, for each of them."""
    for key, value in content.items():
        if key == "numerators":
            for place, number in value.items():
                yield {**content, key: {**value, place: str(int(number, 0) + 1)}}
        elif key == "denominator":
            yield {**content, key: str(int(value, 0) + 1)}
        elif isinstance(value, dict):
            for changed in changed_numbers(value):
                yield {**content, key: changed}


@pytest.mark.parametrize("text", [XOR, AND, "x,class\n0,0\n1,0\n1,1\n2,1\n"])
def test_every_changed_number_ends_the_proof(run, text):
    run("certify", write(text), "--target", "class")
    changes = list(changed_numbers(json.loads(Path("proof.json").read_bytes())))
    assert len(changes) >= 5
    for content in changes:
        if content.get("weak_line") != json.loads(Path("proof.json").read_bytes()).get("weak_line"):
            continue  # any line that weakly separates will do
        write(json.dumps(content), "changed.json")
        status, out, error = run("verify", "changed.json", "data.csv")
        assert (status, error) == (1, "")
        assert "changed.json DOES NOT HOLD for data.csv" in out


@pytest.mark.parametrize(
    "text", [AND.replace("1,0,0", "1,0.5,0"), iris()], ids=["two-classes", "three"]
)
def test_other_labels_columns_or_cells_end_the_proof(run, text):
    run("certify", write(text), "--target", "class")
    proof = Path("proof.json").read_text()
    assert run("verify", "proof.json", "data.csv")[0] == 0
    # Another label is positive, or the features are swapped.
    for old, new in [
        ('"positive": 1', '"positive": 0'),
        ('"positive": 1', '"positive": "1"'),
        ('"positive": "versicolor"', '"positive": "setosa"'),
        ('"negative": null', '"negative": 7'),
        ('["setosa", "versicolor", "virginica"]', '["setosa", "virginica", "versicolor"]'),
        ('["a", "b"', '["b", "a"'),
    ]:
        if old in proof:
            write(proof.replace(old, new), "changed.json")
            status, _, error = run("verify", "changed.json", "data.csv")
            # A text that has one part twice, and another not, is no proof at all.
            assert (status, error) == (1, "") or "parts that are twice there" in error, (old, new)
    # A label is flipped, a sample is missing, cells are moved far away, a label is new.
    lines = text.splitlines()
    row = lines[-1].split(",")
    other = lines[1].split(",")[-1]
    for changed in (
        [*lines[:-1], ",".join([*row[:-1], other])],
        lines[:-1],
        [lines[0], *[",".join([f"{50 * place}", *line.split(",")[1:]]) for place, line in enumerate(lines[1:])]],
        [*lines[:-1], ",".join([*row[:-1], "new"])],
    ):  # fmt: skip
        status, out, error = run("verify", "proof.json", write("\n".join(changed), "changed.csv"))
        assert (status, error) == (1, "")
        assert "proof.json DOES NOT HOLD for changed.csv" in out


def test_labels_that_the_data_lack_are_named(run):
    run("certify", write(XOR), "--target", "class")
    _, out, _ = run("verify", "proof.json", write(XOR.replace("yes", "ja")))
    assert "it is about the label 'yes', the data have 'ja', 'no'" in out
    run("certify", write(iris()), "--target", "class")
    _, out, _ = run("verify", "proof.json", write(iris().replace("setosa", "rosa")))
    assert "about 'setosa', 'versicolor', 'virginica', the data have 'rosa'," in out


def test_a_proof_of_one_pair_made_in_python(run):
    inputs, labels = [[0], [1], [2]], [0, 1, 2]
    proof = separability.certify(inputs, labels, positive=2, negative=0)
    write(json.dumps({**json.loads(proof.to_json()), "target": 1, "features": [0]}), "proof.json")
    status, out, _ = run("verify", "proof.json", write("0,0\n1,1\n2,2\n"))
    assert status == 0
    assert "the 1 sample labeled 2 on one side and the 1 labeled 0 on the other" in out


def test_a_proof_without_sense_is_refused(run):
    run("certify", write("x,class\n0,0\n1,1\n2,2\n"), "--target", "class")
    content = json.loads(Path("proof.json").read_bytes())
    write(json.dumps({**content, "multinomial": content["rest"][0]}), "proof.json")
    status, _, error = run("verify", "proof.json", "data.csv")
    assert status == 2
    assert "proof.json: expected a proof as logistack certify writes it, got" in error


@given(st.data())
def test_flipping_any_bits_of_the_data_never_proves_what_is_false(data):
    """Whatever the labels become, a proof that holds says what `certify` says of them."""
    xs = [0, 1, 2, 3, 4]
    cells = st.lists(st.sampled_from("uv"), min_size=5, max_size=5)
    before, after = data.draw(cells), data.draw(cells)
    for name, labels in (("before.csv", before), ("after.csv", after)):
        rows = [f"{x},{label}" for x, label in zip(xs, labels, strict=True)]
        write("\n".join(["x,class", *rows]), name)
    assert cli.main(["certify", "before.csv", "--target", "class"]) == 0
    status = cli.main(["verify", "proof.json", "after.csv"])
    if before == after:
        assert status == 0
    elif status == 0:
        proof = separability.certificate_from_json(Path("proof.json").read_bytes())
        truth = separability.certify(np.array(xs)[:, None], after)
        assert isinstance(truth, type(proof))


@pytest.mark.parametrize("module", ["tyro", "pandas"])
def test_without_the_extra_it_says_what_to_install(refused, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    error = refused("certify", write(XOR), "--target", "class")
    assert error == f"logistack: {module} is not installed: pip install 'logistack[cli]'\n"


def test_an_interruption_ends_quietly(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(separability, "certify", interrupted)
    status, _, error = run("certify", write(XOR), "--target", "class")
    assert (status, error) == (130, "logistack: interrupted\n")
    assert not Path("proof.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], ["certify", "verify", "Is a line enough?"]),
        (
            ["certify", "--help"],
            [
                *("DATA.CSV", "--target COLUMN", "--positive LABEL", "--ignore COLUMN", "--header"),
                *("--no-header", "--out PROOF.JSON", "--budget SECONDS", "one tenth"),
                *("--encoding NAME", "--decimal MARK", "--no-missing"),
            ],
        ),
        (["verify", "--help"], ["PROOF.JSON DATA.CSV", "1 if it does not"]),
    ],
)
def test_help_names_every_option(run, words, said):
    status, out, _ = run(*words)
    assert status == 0
    assert all(word in " ".join(out.split()) for word in said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Expected one of {certify, separation, verify, report, predict}"),
        (["certifi"], "Available subcommands: certify, separation, verify, report, predict"),
        (["certify", "data.csv"], "--target COLUMN"),
        (["certify", "data.csv", "--target", "y", "--headr"], "--headr"),
        (["certify", "data.csv", "--target", "y", "--header", "--no-header"], "not allowed"),
        (["certify", "data.csv", "--target"], "--target"),
        (["certify", "data.csv", "--target", "y", "--", "more"], "more"),
        (["verify", "proof.json"], "DATA.CSV"),
    ],
)
def test_wrong_commands_are_told_what_is_wrong_in_one_line(refused, words, said):
    error = refused(*words)
    assert said in error
    assert not set(error) & set("│─╭╰")


def test_a_mistake_is_not_answered_with_the_help(refused):
    assert (
        refused("certify", "data.csv")
        == "logistack: Missing from logistack certify: --target COLUMN\n"
    )


def test_the_version(run):
    assert run("--version") == (0, f"logistack {logistack.__version__}\n", "")
    assert "logistack --version" in " ".join(run("--help")[1].split())


def test_the_module_is_the_command():
    words = [sys.executable, "-W", "error", "-m", "logistack", "verify", "nix.json", "nix.csv"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "logistack: nix.json: No such file or directory\n"


@needs_script
def test_the_installed_command(folder):
    write(AND)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}

    def shell(*words):
        return subprocess.run(
            [SCRIPT, *words], capture_output=True, text=True, check=False, env=environment
        )

    done = shell("certify", "data.csv", "--target", "-1")
    assert (done.returncode, done.stderr) == (0, "")
    write(AND.replace("1,1,1", "0,0,1"), "other.csv")
    done = shell("verify", "proof.json", "other.csv")
    assert (done.returncode, done.stderr) == (1, "")


def test_verify_uses_no_solver(run):
    run("certify", write(iris()), "--target", "class")
    code = (
        "import sys\n"
        "from logistack import cli\n"
        "status = cli.main(['verify', 'proof.json', 'data.csv'])\n"
        "print(status, sorted({name.split('.')[0] for name in sys.modules} & {'scipy', 'flint'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_separation_is_proven_and_verified(run):
    text = "dose,age,ill\n0,0.1,no\n1,0.1,no\n1,0.1,yes\n2,0.1,yes\n1,0.3,yes\n"
    status, said, error = run("separation", write(text), "--target", "ill")
    assert (status, error) == (0, "")
    assert "Quasi-complete separation: 3 of 5 samples are separated" in said
    assert [line.split() for line in said.splitlines()[3:6]] == [
        ["dose", "+∞"], ["age", "+∞"], ["intercept", "-∞"]
    ]  # fmt: skip
    status, again, error = run("verify", "proof.json", "data.csv")
    assert (status, error) == (0, "")
    assert said.splitlines()[2:8] == again.splitlines()[3:]
    write(text.replace("1,0.3,yes", "1,0.3,no"))
    assert run("verify", "proof.json", "data.csv")[0] == 1


def test_a_separation_of_three_classes_has_its_parts(run):
    status, said, _ = run("separation", write(iris()), "--target", "class")
    assert status == 0
    assert "'setosa'      and  'versicolor'   complete separation" in said
    assert "All at once: quasi-complete separation, 200 of 300 differences are separated" in said
    assert run("verify", "proof.json", "data.csv")[0] == 0


SAILORS = """\
id,age,sex,port,class
1,22,m,S,no
2,38,f,C,yes
3,,f,S,yes
4,35,f,NA,yes
5,35,m,S,no
6,54,m,Q,no
7,30,f,C,no
8,14,f,S,yes
9,39,m,S,yes
10,4,f,Q,no
11,58,f,C,yes
"""


def sailors(levels):
    """The rows without a missing value by hand: numbers, and an indicator a level."""
    rows = [line.split(",") for line in SAILORS.splitlines()[1:]]
    rows = [row for row in rows if not {"", "NA"} & set(row)]
    inputs = [[int(row[1]), *(int(level in row[2:4]) for level in levels)] for row in rows]
    return inputs, [row[4] for row in rows]


@pytest.mark.parametrize("command", ["certify", "separation"])
@pytest.mark.parametrize(
    ("options", "levels"),
    [([], ["m", "Q", "S"]), (["--keep-levels"], ["f", "m", "C", "Q", "S"])],
)
def test_texts_make_indicators_and_rows_with_a_missing_value_are_left_out(
    run, command, options, levels
):
    words = ["--target", "class", "--ignore", "id", "--one-hot", "--drop-missing", *options]
    status, said, error = run(command, write(SAILORS), *words)
    assert (status, error) == (0, "")
    left = "1 column ('id'), 2 rows with a missing value (3, 4)"
    assert f"\nLeft out: {left}\n" in said
    content = json.loads(Path("proof.json").read_bytes())
    columns = {"f": "sex", "m": "sex"}
    assert content["features"] == ["age", *([columns.get(x, "port"), x] for x in levels)]
    assert content["left_out"] == [2, 3]
    proof = separability.certificate_from_json(Path("proof.json").read_bytes())
    assert proof.verify(*sailors(levels))
    status, again, error = run("verify", "proof.json", "data.csv")
    assert (status, error) == (0, "")
    assert f"Proven, leaving out {left}:" in again
    rows = [line for line in said.splitlines() if line.startswith("Rows of")]
    assert rows == [line for line in again.splitlines() if line.startswith("Rows of")]
    numbers = {int(number) for number in re.findall("[0-9]+", rows[0])} if rows else set()
    assert not numbers & {3, 4}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("6,54,m,Q", "6,54,m,X"), "it has the levels 'Q', 'S' of the column 'port', the data"),
        (("3,,f", "3,7,f"), "it leaves out other rows than those that miss a value"),
        (("2,38", "2,"), "it leaves out other rows than those that miss a value"),
    ],
)
def test_other_levels_and_other_missing_values_are_other_data(run, change, words):
    options = ["--target", "class", "--ignore", "id", "--one-hot", "--drop-missing"]
    run("certify", write(SAILORS), *options)
    assert run("verify", "proof.json", "data.csv")[0] == 0
    assert SAILORS.count(change[0]) == 1
    status, said, _ = run("verify", "proof.json", write(SAILORS.replace(*change)))
    assert status == 1
    assert f"DOES NOT HOLD for data.csv: {words}" in said


def test_a_text_of_one_level_is_a_constant_and_na_may_be_a_level(run):
    text = "a,b,c,class\nx,NA,1,0\nx,s,2,1\nx,NA,3,0\nx,t,0,1\n"
    out = certified(run, text, "--one-hot", "--no-missing")
    assert "Features: a=x, b=s, b=t, c\n" in out


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (SAILORS, [], "column 'age': expected a number in every row, got an empty cell in row 3; 2 more columns like this (to leave out the rows of missing values: --drop-missing; to make features of text: --one-hot; to leave out: --ignore age sex port)"),
        (SAILORS, ["--one-hot", "--ignore", "port"], "column 'age': expected a number in every row, got an empty cell in row 3 (to leave out the rows of missing values: --drop-missing"),
        (SAILORS, ["--one-hot", "--ignore", "age"], "column 'port': expected a text in every row, got 'NA' in row 4 (to leave out the rows"),
        (SAILORS, ["--drop-missing"], "column 'sex': expected numbers, got 'm' in row 1, 'f' in row 2, 'm' in row 5, and 6 more; 1 more column like this (to make features of text: --one-hot; to leave out: --ignore sex port)"),
        (SAILORS, ["--keep-levels"], "--keep-levels: expected --one-hot beside it"),
        ("a,class\n,0\n1,NA\n", ["--drop-missing"], "expected a row without a missing value, got none"),
        ("a,class\n1,0\n1,NA\n", [], "column 'class': expected a label in every row, got 'NA' in row 2 (to leave out the rows of missing values: --drop-missing"),
        ("a,class\n" + "".join(f"n{k},{k % 2}\n" for k in range(1001)), ["--one-hot"], "column 'a': expected at most 1,000 different texts, got 1,001 (to leave out: --ignore a)"),
        ("a,b,class\n1,1,0\n2,inf,1\n", ["--one-hot"], "column 'b': expected a number in every row, got 'inf' in row 2"),
    ],
)  # fmt: skip
def test_texts_and_missing_values_are_never_guessed_at(refused, text, options, words):
    assert words in refused("certify", write(text), "--target", "class", *options)


def test_a_column_that_numbers_or_names_the_samples_is_suspicious(run):
    rows = [f"{k},n{9 - k % 10}{k},{k % 7},{int(k > 10)}" for k in range(20)]
    text = "\n".join(["rownames,name,x,class", *rows])
    out = certified(run, text, "--one-hot")
    assert "\nSuspicious: 'rownames', 'name' may number or name the samples" in out
    assert "to leave out: --ignore rownames name\n" in out
    out = certified(run, text, "--ignore", "rownames", "name")
    assert "Suspicious" not in out
    assert "Suspicious" not in certified(run, "x,class\n1,0\n2,1\n3,1\n")


def test_what_may_help_depends_on_the_answer(run):
    def advice(command, text):
        assert run(command, write(text), "--target", "class")[0] == 0
        (line,) = (
            line for line in run("verify", "proof.json", "data.csv")[1].splitlines()
            if line.startswith("What may help: ")
        )  # fmt: skip
        return line

    stack, penalty = "a stack with a hidden layer may", "Firth's penalty has one"
    assert penalty in advice("certify", AND)
    assert penalty in advice("separation", AND)
    assert stack in advice("certify", XOR)
    touching = "a,class\n0,0\n1,0\n1,1\n2,1\n"
    assert stack in advice("certify", touching)
    assert penalty in advice("certify", touching)
    assert penalty in advice("separation", touching)
    assert penalty not in advice("certify", XOR)
    assert "the fit of maximum likelihood is finite" in advice("separation", XOR)
    collinear = XOR.replace("class", "c,class").replace(",no", ",5,no").replace(",yes", ",5,yes")
    assert "one of two columns that say the same can go" in advice("separation", collinear)
