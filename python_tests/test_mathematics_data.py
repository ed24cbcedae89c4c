"""Reading the mathematics data set: archives, compressed and foreign line ends, records, what is missing."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import mathematics_cases as cases
import numpy as np
import pytest

from mathkernels.data.mathematics import corpus, overlap, records
from mathkernels.data.mathematics.corpus import Corpus, Part, read
from mathkernels.data.mathematics.text_files import open_questions
from mathkernels.data.mathematics.vocabulary import (
    ARITHMETIC_ANSWERS,
    NONE,
    START,
    STOP,
    Vocabulary,
    of_modules,
)

ROWS = [("What is 1 + 1?", "2"), ("12*3", "36"), ("Multiply 0.5 and -4.", "-2")]


def everything(one):
    return [one.pair(row) for row in range(len(one))]


def opened(tmp_path, content, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_questions(path, tmp_path / "index")


# the vocabulary


def test_arithmetic_has_a_fixed_vocabulary_of_known_sizes():
    own = of_modules(["arithmetic__mul", "arithmetic__simplify_surd"])
    assert own.question.characters.replace(START, "").replace(STOP, "") == "".join(
        sorted(" ()*+,-./0123456789?ACDEIMPSTWabcdefghijklmnopqrstuvwxyz")
    )
    assert len(own.answer) == 30
    assert own.answer.characters.strip() == ARITHMETIC_ANSWERS.strip()
    assert own.joint.characters == own.question.characters
    assert [own.joint.id_of(one) for one in "\t\n ("] == [0, 1, 2, 3]
    assert len(of_modules(["arithmetic__mul", "algebra__linear_1d"]).joint) == 95 + 2


def test_ids_are_ranks_and_read_back():
    own = Vocabulary("cab")
    assert own.ids("abc").tolist() == [2, 3, 4]
    assert own.text(np.array([0, 2, 3, 1, 4])) == START + "ab"
    with pytest.raises(ValueError, match=r"got 'x' at character 2 of 'bxa'; needs one of abc"):
        own.ids("bxa")
    with pytest.raises(ValueError, match="ASCII"):
        Vocabulary("aé")


# text files


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_lines_are_read_whatever_ends_them(tmp_path, newline, last, zipped):
    content = cases.text(ROWS, newline, last).encode()
    name = "a.txt.gz" if zipped else "a.txt"
    own = opened(tmp_path, gzip.compress(content) if zipped else content, name)
    assert everything(Corpus([Part("train", "a", own)])) == ROWS
    assert own.lengths(False).tolist() == [14, 4, 20]
    assert own.lengths(True).tolist() == [1, 2, 2]
    again = open_questions(tmp_path / name, tmp_path / "index")
    assert everything(Corpus([Part("train", "a", again)])) == ROWS


def test_an_index_is_made_anew_when_its_file_changes(tmp_path):
    own = opened(tmp_path, cases.text(ROWS))
    assert len(own) == 3
    own = opened(tmp_path, cases.text(ROWS[:2]))
    assert len(own) == 2
    assert len([*(tmp_path / "index").glob("*.npy")]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a.txt' is empty; needs questions and answers"),
        (b"a\n1\nb\n", r"a.txt' has 3 lines, so that the last question has no answer"),
        (b"a\n1\n\n2\n", r"a.txt', line 3 is empty"),
        (b"a\r\n1\r\nb\r\n\r\n", r"a.txt', line 4 is empty"),
        (b"\n1\n", r"line 1 is empty"),
    ],
)
def test_damaged_text_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, content)


def test_a_cut_gzip_file_is_refused_by_name(tmp_path):
    whole = gzip.compress(cases.text(ROWS * 50).encode())
    with pytest.raises(ValueError, match=r"a.txt.gz' is damaged"):
        opened(tmp_path, whole[: len(whole) // 2], "a.txt.gz")
    with pytest.raises(ValueError, match="missing"):
        open_questions(tmp_path / "none.txt", tmp_path)


def test_characters_outside_the_vocabulary_are_named_with_file_and_line(tmp_path):
    root = cases.write(tmp_path / "data")
    path = root / "train-hard" / "arithmetic__mul.txt"
    path.write_text(path.read_text() + "What is 2 × 2?\n4\n", encoding="utf-8")
    data = read(root)
    with pytest.raises(ValueError, match=r"arithmetic__mul.txt', line 121: got '×' at character 11"):
        data.train.check(of_modules(data.train.modules))
    part = data.train.parts[-1].questions
    with pytest.raises(ValueError, match=r"line 121"):
        part.ids(np.array([60]), False, of_modules(data.train.modules).question)


def test_questions_over_the_limits_are_left_out(tmp_path):
    long = [("1" * 161, "1"), ("2" * 160, "3" * 30), ("4", "5" * 31), ("6", "7")]
    own = Corpus([Part("train", "a", opened(tmp_path, cases.text(long)))])
    assert own.within_limits().tolist() == [1, 3]


def test_ids_of_many_files_come_in_the_order_of_the_rows(tmp_path):
    data = read(cases.write(tmp_path / "data"))
    own, rows = of_modules(data.train.modules), np.array([359, 0, 200, 60, 1])
    ids, lengths = data.train.ids(rows, False, own.question)
    assert ids.dtype == np.uint8
    assert (ids[np.arange(ids.shape[1]) >= lengths[:, None]] == NONE).all()
    found = [own.question.text(one[:n]) for one, n in zip(ids, lengths, strict=True)]
    assert found == [data.train.pair(row)[0] for row in rows]
    assert [data.train.modules[one] for one in data.train.modules_of(rows)] == [
        cases.MODULES[one] for one in (1, 0, 1, 1, 0)
    ]
    data.train.release()
    assert data.train.pair(0)


# folders


def test_an_archive_is_found_at_or_below_the_folder(tmp_path):
    cases.write(tmp_path / "raw" / "mathematics_dataset-v1.0")
    cases.write(tmp_path / "mine")
    for root in (tmp_path, tmp_path / "raw", tmp_path / "mine"):
        data = read(root, index=tmp_path / "index")
        assert [len(one) for one in (data.train, data.interpolate, data.extrapolate)] == [360, 40, 40]
        assert data.extrapolate.modules == ["arithmetic__add_or_sub_big", "arithmetic__mul_big"]
    assert len(read(tmp_path / "mine", "arithmetic__mul", "easy").train) == 60


def test_the_single_training_folder_of_the_package_is_read_and_has_no_levels(tmp_path):
    data = read(cases.write(tmp_path / "data", folders=("train",)))
    assert len(data.train) == 120
    assert data.notes == ("levels are not told apart",)
    with pytest.raises(
        ValueError, match=r"train_level: got easy, .*one folder train for all levels; needs \*"
    ):
        read(tmp_path / "data", level="easy")


def test_a_partly_unpacked_archive_names_what_is_missing(tmp_path):
    root = cases.write(tmp_path / "data")
    (root / "train-hard" / "arithmetic__mul.txt").unlink()
    with pytest.raises(ValueError, match=r"lacks train-hard/arithmetic__mul.txt; unpack the archive"):
        read(root)
    assert len(read(root, level="easy").train) == 120
    for path in (root / "extrapolate").iterdir():
        path.unlink()
    (root / "extrapolate").rmdir()
    with pytest.raises(ValueError, match=r"lacks extrapolate/"):
        read(root, level="easy")


def test_an_empty_module_file_is_an_error_by_name(tmp_path):
    root = cases.write(tmp_path / "data")
    (root / "interpolate" / "arithmetic__mul.txt").write_text("")
    with pytest.raises(ValueError, match=r"interpolate/arithmetic__mul.txt' is empty"):
        read(root)


def test_an_unknown_module_and_a_folder_without_questions_are_refused(tmp_path):
    root = cases.write(tmp_path / "data")
    with pytest.raises(ValueError, match=r"got 'arithmetc__mul', .*did you mean arithmetic__mul"):
        read(root, "arithmetc__mul")
    (tmp_path / "empty").mkdir()
    for place, message in (("empty", "holds no questions"), ("none", "does not exist; make dataset")):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / place)


# records


def written(tmp_path, rows, name="train.jsonl"):
    path = tmp_path / name
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "wt") as file:
        file.writelines(json.dumps(dict(zip(records.COLUMNS, row, strict=True))) + "\n" for row in rows)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_json_lines_are_read_without_level_or_extrapolation(tmp_path, name):
    written(tmp_path, ROWS, name)
    data = read(tmp_path)
    assert everything(data.train) == ROWS
    assert data.notes == ("level unknown, no extrapolation", "no interpolation set either")
    assert len(data.extrapolate) == 0
    with pytest.raises(ValueError, match=r"does not say of which level"):
        read(tmp_path, level="hard")


def test_the_mirror_of_the_data_set_is_read_from_parquet(tmp_path):
    parquet, table = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow").table
    folder = tmp_path / "arithmetic__mul"
    folder.mkdir()
    for name in ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"):
        mirrored = {
            key: [repr((row[place] + "\n").encode()) for row in ROWS]
            for place, key in enumerate(records.COLUMNS)
        }
        parquet.write_table(table(mirrored), folder / name)
    data = read(tmp_path)
    assert everything(data.train) == everything(data.interpolate) == ROWS
    assert data.train.modules == ["arithmetic__mul"]
    assert data.notes == ("level unknown, no extrapolation",)
    parquet.write_table(table({"question": ["a"]}), folder / "train-00001-of-00001.parquet")
    with pytest.raises(ValueError, match="lacks the column answer"):
        read(tmp_path)
    (folder / "train-00001-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="no whole Parquet file"):
        read(tmp_path)


@pytest.mark.parametrize(
    "raw", [b"a\n", b"it's\n", b'say "x"\n', b"both ' and \"\n", b"\\n\t\n", b"\xe9\x00\n", b"4"]
)
def test_literals_of_bytes_are_read_by_their_rules(raw):
    assert records.literal(repr(raw)) == raw.decode("latin-1").removesuffix("\n")


@pytest.mark.parametrize(
    "wrong",
    ["b'a'+b'b'", "b'a' ", "__import__('os')", "b'\\u0041'", "b'\\x4'", "b'a'b'", "'a'", "b\"a'", "b'a", ""],
)
def test_anything_else_than_a_literal_is_refused(wrong):
    with pytest.raises(ValueError, match="literal: got"):
        records.literal(wrong)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "a"}', r"row 2, answer: got nothing, needs a text"),
        ('{"question": 5, "answer": "a"}', r"row 2, question: got 5, needs a text"),
        ('{"question": "a\\nb", "answer": "c"}', r"row 2, question: got 'a\\nb', needs one line"),
        ('{"question": "", "answer": "c"}', r"row 2, question: got '', needs one line"),
        ("[1]", r"got \[1\], needs an object"),
        ("{", r"is no JSON lines"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, line, message):
    path = written(tmp_path, ROWS[:1])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        read(path)


# questions that stand in two sets


def test_questions_of_another_set_are_found(tmp_path):
    train, test = (
        [*cases.pairs("arithmetic__mul", 400, 0), ("1" * 40, "1")],
        cases.pairs("arithmetic__mul", 80, 1),
    )
    one = Corpus([Part("train", "a", opened(tmp_path, cases.text(train), "a.txt"))])
    two = Corpus([Part("test", "b", opened(tmp_path, cases.text(test), "b.txt"))])
    known = np.sort(overlap.fingerprints(one))
    found = overlap.seen(overlap.fingerprints(two), known)
    texts = {question for question, _ in train}
    assert found.tolist() == [question in texts for question, _ in test]
    rows = np.array([3, 50, 79])
    assert overlap.seen(overlap.fingerprints(two, rows), known).tolist() == found[rows].tolist()
    assert len({*known.tolist()}) == len(texts)
    assert not overlap.seen(np.array([5], np.uint64), np.empty(0, np.uint64)).any()


def test_memory_grows_by_a_few_bytes_for_each_question(tmp_path):
    """18 million questions have to fit into 1 GB, that is 55 bytes for each; texts take 30 to 100."""
    from mathkernels.studies.mathematics.batches import split
    from mathkernels.studies.mathematics.config import Config

    peaks = []
    for count in (100_000, 300_000):
        folder = tmp_path / str(count)
        for name in ("train", "interpolate", "extrapolate"):
            (folder / name).mkdir(parents=True)
            lines = cases.text(cases.pairs("arithmetic__mul", 500, 0)) * (
                count // 500 if name == "train" else 1
            )
            (folder / name / "arithmetic__mul.txt").write_text(lines)
        data = read(folder)
        tracemalloc.start()
        sets = split(data, Config(valid_most=1000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(sets.rows) == 0.8 * count
    assert (peaks[1] - peaks[0]) / 200_000 < 45


def test_modules_of_extrapolation_belong_to_those_of_training():
    names = {"arithmetic__mul_big": "arithmetic__mul", "algebra__linear_1d": "algebra__linear_1d"}
    names["probability__swr_p_sequence_more_samples"] = "probability__swr_p_sequence"
    assert {one: corpus.modules.trained(one) for one in names} == names
