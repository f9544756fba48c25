"""Features made elsewhere: three formats, paths of all kinds, and what is wrong with a file."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.vlm.files.embeddings import read_embeddings
from dassl.errors import MissingFileError, UserError

PATHS = ["cells/red/1.png", "cells/red/2.png", "cells/blue/1.png"]
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4) + 1


def write(path, paths=PATHS, rows=ROWS):
    if path.suffix == ".npz":
        np.savez(path, paths=np.array(paths), features=rows)
    elif path.suffix in (".h5", ".hdf5"):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["paths"] = paths
            file["embeddings"] = rows
    else:
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = {"path": paths, "features": [list(map(float, row)) for row in rows]}
        parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5", ".parquet"])
def test_all_formats_give_the_same_rows_in_the_order_asked_for(suffix, tmp_path):
    found = read_embeddings(write(tmp_path / f"features{suffix}"))
    assert found.dim == 4
    order = ["/data/cells/blue/1.png", "/data/cells/red/2.png"]
    np.testing.assert_array_equal(found.rows_of(order), ROWS[[2, 1]])


def test_parquet_may_have_one_column_for_each_number(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"filename": PATHS, "f0": ROWS[:, 0], "f1": ROWS[:, 1], "note": ["a", "b", "c"]}
    parquet.write_table(pa.table(columns), tmp_path / "wide.parquet")
    found = read_embeddings(tmp_path / "wide.parquet")
    np.testing.assert_array_equal(found.rows, ROWS[:, :2])


@pytest.mark.parametrize(
    "listed",
    [
        ["/other/machine/cells/red/1.png", "/other/machine/cells/red/2.png", "/o/blue/1.png"],
        ["red/1.png", "red/2.png", "blue/1.png"],
        ["D:\\data\\red\\1.png", "D:\\data\\red\\2.png", "D:\\data\\blue\\1.png"],
    ],
)
def test_paths_of_another_machine_are_known_by_their_ends(listed, tmp_path):
    found = read_embeddings(write(tmp_path / "f.npz", listed))
    images = [f"/data/cells/{name}" for name in ("blue/1.png", "red/1.png", "red/2.png")]
    np.testing.assert_array_equal(found.rows_of(images), ROWS[[2, 0, 1]])


def test_file_names_alone_serve_while_no_two_images_share_one(tmp_path):
    found = read_embeddings(write(tmp_path / "f.npz", ["1.png", "2.png", "3.png"]))
    np.testing.assert_array_equal(found.rows_of(["/data/red/2.png"]), ROWS[[1]])
    with pytest.raises(UserError, match="one row for /data/red/2.png and /data/blue/2.png"):
        found.rows_of(["/data/blue/2.png"])  # in another call: train and test are two


def test_an_image_without_a_row_is_named(tmp_path):
    found = read_embeddings(write(tmp_path / "f.npz"))
    with pytest.raises(UserError, match="no row for 1 of 2 images.*green/9.png.*like cells/red"):
        found.rows_of(["/data/cells/red/1.png", "/data/cells/green/9.png"])
    with pytest.raises(UserError, match="no row for 1 of 1"):  # 1.png is in two folders
        found.rows_of(["/elsewhere/1.png"])


BAD = ROWS.copy()
BAD[1, 2] = np.nan
ZERO = ROWS.copy()
ZERO[2] = 0


@pytest.mark.parametrize(
    ("paths", "rows", "said"),
    [
        (["a/1.png", "a/1.png", "b.png"], ROWS, "1 paths twice .such as a/1.png"),
        (PATHS[:2], ROWS, "2 paths for 3 rows"),
        (PATHS, BAD, "1 rows hold NaN or infinite numbers .such as that of cells/red/2.png"),
        (PATHS, ZERO, "1 rows are all zeros .such as that of cells/blue/1.png"),
        (PATHS, ROWS[0], "float32 .4,.; a matrix of numbers"),
        ([1, 2, 3], ROWS, "paths are texts"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_place(paths, rows, said, tmp_path):
    with pytest.raises(UserError, match=said) as caught:
        read_embeddings(write(tmp_path / "f.npz", paths, rows))
    assert "\n" not in str(caught.value) and "f.npz" in str(caught.value)


def test_rows_of_different_lengths_are_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"path": PATHS, "features": [[1.0, 2.0], [1.0], [1.0, 2.0]]}
    parquet.write_table(pa.table(columns), tmp_path / "f.parquet")
    with pytest.raises(UserError, match="cells/red/2.png has 1 numbers, most others have 2"):
        read_embeddings(tmp_path / "f.parquet")


def test_files_that_are_no_features_are_named(tmp_path):
    with pytest.raises(MissingFileError, match="file of features .* does not exist"):
        read_embeddings(tmp_path / "none.npz")
    (tmp_path / "f.csv").write_text("a,b")
    with pytest.raises(UserError, match="ends in .csv; features are read from .npz, .h5"):
        read_embeddings(tmp_path / "f.csv")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(UserError, match="cannot be read as npz"):
        read_embeddings(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", x=ROWS)
    with pytest.raises(UserError, match="has no 'paths' .it has x."):
        read_embeddings(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", paths=np.array([{}, {}, {}]), features=ROWS)
    with pytest.raises(UserError, match="cannot be read as npz .*allow_pickle"):
        read_embeddings(tmp_path / "objects.npz")
