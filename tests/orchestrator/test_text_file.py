"""Lines of a text file. What cannot be read at all is tested where corpora and samples are."""

from __future__ import annotations

from pathlib import Path

from orchestrator.text_file import read_text, text_lines


def test_line_ends_become_one_and_blank_lines_stay_inside(tmp_path: Path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf a \r\n\rb\n\n\n")
    assert read_text(path, "x") == " a \n\nb\n\n\n"
    assert text_lines(path, "x") == ["a", "", "b"]
