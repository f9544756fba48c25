"""CSV files of other people: even rows by column, or one line."""

from __future__ import annotations

import pytest

from cerviclip.data.files.csv_rows import read_rows
from dassl.errors import UserError


def written(tmp_path, content: bytes):
    (tmp_path / "some.csv").write_bytes(content)
    return tmp_path / "some.csv"


def test_rows_by_column_with_their_lines(tmp_path):
    path = written(tmp_path, b'\xef\xbb\xbfpath, label\na.png,x\n\n"b,c.png","y\nz"\n')
    head, rows = read_rows(path)
    assert head == ["path", "label"]
    assert rows == [(2, {"path": "a.png", "label": "x"}), (5, {"path": "b,c.png", "label": "y\nz"})]
    assert read_rows(written(tmp_path, b"")) == ([], [])


def test_uneven_rows_are_refused_or_filled(tmp_path):
    path = written(tmp_path, b"a,b\n1\n1,2,3\n")
    with pytest.raises(UserError, match="line 2 has 1 cells, its head 2"):
        read_rows(path)
    _, rows = read_rows(path, even=False)
    assert [row for _, row in rows] == [{"a": "1", "b": ""}, {"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    "content, told",
    [
        (b"a,a\n1,2\n", "'a' twice"),
        (b"a,b\n\xff,2\n", "UTF-8"),
        (b"a,b\n" + b"x" * 200_000 + b",2\n", "no CSV"),
        (b'a,b\n"1', "no CSV"),
    ],
)
def test_what_is_no_csv_is_one_line(tmp_path, content, told):
    with pytest.raises(UserError, match=told):
        read_rows(written(tmp_path, content))


def test_a_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("sign", [";", "\t", ","])
def test_signs_between_cells_and_encodings_of_spreadsheets(tmp_path, sign, encoding):
    path = tmp_path / "x.csv"
    path.write_text(f'patient{sign}age\nP1{sign}"ä{sign}b"\n', encoding=encoding)
    assert read_rows(path) == (["patient", "age"], [(2, {"patient": "P1", "age": f"ä{sign}b"})])


def test_the_sign_that_the_head_has_most_of_parts_cells_and_is_named(tmp_path):
    path = written(tmp_path, b"patient;age, in years;sex\nP1;40;f\nP2;50\n")
    with pytest.raises(UserError, match="line 3 has 2 cells, its head 3; .* holds ';' in quotes"):
        read_rows(path)
    assert read_rows(path, even=False)[0] == ["patient", "age, in years", "sex"]
