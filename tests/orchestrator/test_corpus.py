"""Reading a corpus: every bad file has its message, and no held-out line is ever trained on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.corpus import MINIMUM_LINES, fingerprint, python_topics, read_lines, split
from orchestrator.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MANY = [f"line number {i}" for i in range(MINIMUM_LINES)]
CORPORA = [("image_coco/image_coco.txt", 10_000), ("chinese_poems/shi.txt", 16_394)]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "corpus.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_blanks_and_byte_order_mark_do_not_matter(tmp_path: Path, end: str, mark: bytes) -> None:
    text = end.join(["", *(f"  {line}\t" for line in MANY), "   ", ""])
    assert read_lines(write(tmp_path, mark + text.encode())) == MANY


def test_last_line_needs_no_end_and_repeats_are_kept(tmp_path: Path) -> None:
    lines = [*MANY, MANY[3]]
    assert read_lines(write(tmp_path, "\n".join(lines).encode())) == lines


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    lines = ["form\x0cfeed", "line\u2028separator", "next\x85line", *MANY]
    assert read_lines(write(tmp_path, "\n".join(lines).encode())) == lines


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "is empty;"),
        (b" \r\n\n\t\n", "empty but for blank lines"),
        (b"\xef\xbb\xbf", "is empty;"),
        (b"one\ntwo\nthr\0ee\n", "binary (a NUL byte in line 3)"),
        ("un\r\ncaf\u00e9\r\n".encode("latin1"), "line 2 has byte 0xe9 at byte 4"),
        (b"\xff plain", "line 1 has byte 0xff at byte 1"),
        (b"\xef\xbb\xbfab\xe9 ", "line 1 has byte 0xe9 at byte 3"),
        ("\n".join(MANY).encode("utf-16"), "iconv -f utf-16 -t utf-8"),
        ("\n".join([*MANY[1:], *MANY[1:]]).encode(), "38 lines, 19 of them distinct; at least 20"),
    ],
)
def test_bad_content_is_explained(tmp_path: Path, content: bytes, wanted: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_lines(path)
    assert wanted in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_wrong_encoding_tells_how_to_convert(tmp_path: Path) -> None:
    path = write(tmp_path, b"caf\xe9")
    with pytest.raises(UserError, match="iconv -f latin1 -t utf-8"):
        read_lines(path)


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no file") as caught:
        read_lines(tmp_path / "missing.txt")
    assert caught.value.exit_code == 2
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="looked for") as caught:
        read_lines(Path("missing.txt"))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("path", ["corpus.txt/inside", "x" * 300, "nul\0inside"])
def test_impossible_path(tmp_path: Path, path: str) -> None:
    write(tmp_path, b"text")
    with pytest.raises(UserError, match=r"data\.path: "):
        read_lines(tmp_path / path)


def test_directory_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a directory"):
        read_lines(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        read_lines(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(MANY).encode())
    path.chmod(0)
    with pytest.raises(UserError, match="no permission to read"):
        read_lines(path)


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=3, max_size=60).filter(
        lambda lines: len(set(lines)) >= 3
    ),
    st.floats(0.01, 0.3),
    st.floats(0.01, 0.3),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_split_divides_without_leakage(
    lines: list[str], validation: float, test: float, random: Random
) -> None:
    parts = split(lines, validation, test)
    train, held, tested = set(parts.train), set(parts.validation), set(parts.test)
    assert min(len(train), len(held), len(tested)) > 0
    assert len(train) + len(held) + len(tested) == len(train | held | tested)
    assert sorted(parts.train + parts.validation + parts.test) == sorted(lines)
    for part in (parts.train, parts.validation, parts.test):
        assert part == [line for line in lines if line in set(part)]  # the order is that of the corpus

    shuffled = random.sample(lines, len(lines))
    again = split(shuffled, validation, test)
    assert (set(again.train), set(again.validation), set(again.test)) == (train, held, tested)


def test_split_shares_count_distinct_lines() -> None:
    lines = [f"sentence {i}" for i in range(1000)] + ["sentence 0"] * 500
    parts = split(lines, 0.1, 0.05)
    assert (len(set(parts.train)), len(set(parts.validation)), len(set(parts.test))) == (850, 100, 50)
    assert sum(map(len, (parts.train, parts.validation, parts.test))) == 1500


def test_split_is_by_content_not_by_place() -> None:
    # a held-out share taken from one end of the file would hold one topic only
    parts = split([f"sentence {i:04d}" for i in range(1000)], 0.2, 0.2)
    places = [int(line.split()[1]) for line in parts.test]
    assert len([place for place in places if place < 500]) in range(70, 131)  # 100 expected, sd about 6


def test_split_refuses_to_leave_nothing_for_training() -> None:
    with pytest.raises(UserError, match="leave none for training"):
        split(["a", "b"], 0.1, 0.1)
    with pytest.raises(UserError, match="leave none for training"):
        split(MANY, 0.5, 0.5)


def test_fingerprint_sees_content_order_and_line_borders() -> None:
    assert fingerprint(["ab", "c"]) == fingerprint(["ab", "c"])
    assert (
        len(
            {
                fingerprint(lines)
                for lines in (["ab", "c"], ["c", "ab"], ["a", "bc"], ["abc"], ["ab", "c", "c"])
            }
        )
        == 5
    )


def test_split_and_fingerprint_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "import json; from dataclasses import asdict; from orchestrator.corpus import *\n"
        "lines = [f'w{i % 70}' for i in range(100)]\n"
        "print(json.dumps([asdict(split(lines, 0.1, 0.2)), fingerprint(lines)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert [len(set(part)) for part in json.loads(outputs.pop())[0].values()] == [49, 7, 14]


@pytest.mark.parametrize(("name", "count"), CORPORA)
def test_real_corpora(name: str, count: int) -> None:
    path = ROOT / "../shared/data" / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    lines = read_lines(path)
    assert len(lines) == count
    parts = split(lines, 0.05, 0.05)
    assert not set(parts.train) & (set(parts.validation) | set(parts.test))
    assert abs(len(parts.test) - 0.05 * count) < 0.005 * count


def test_the_topics_of_pythons_help_are_text() -> None:
    lines = python_topics()
    assert len(lines) > 5_000
    assert all(line and line == line.strip() for line in lines)
    assert any("class definition" in line for line in lines)
    assert python_topics() == lines
