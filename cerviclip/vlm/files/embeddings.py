"""Features that another program has made: a matrix and the images' paths, in npz, HDF5 or parquet.

npz and HDF5 hold ``paths`` (N,) and ``features`` (N, D); parquet has a column ``path`` and either a
column of lists ``features`` or one numeric column for each of the D numbers. Nothing is unpickled.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.files.listed_paths import ListedPaths
from cerviclip.places import install_hint
from dassl.errors import MissingFileError, UserError, no_file
from dassl.paths import at_home, is_file

PATHS = ("paths", "path", "files", "file", "filename", "filenames", "image", "images")
FEATURES = ("features", "embeddings", "embedding", "feature", "x")
SUFFIXES = (".npz", ".h5", ".hdf5", ".parquet")


@dataclass
class Embeddings:
    """Rows of a file, found by the paths of images.

    Args:
        source: the file.
        paths: (N,) as the file has them.
        rows: (N, D) float32, all finite.
    """

    source: str
    paths: Sequence[str]
    rows: np.ndarray
    _places: dict[str, int] = field(init=False, repr=False)
    _known: ListedPaths = field(init=False, repr=False)
    _owners: dict[int, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._places = _places(self.paths)
        self._known = ListedPaths(self.source, self._places.keys(), os.sep, os.sep)

    @property
    def dim(self) -> int:
        return self.rows.shape[1]

    def rows_of(self, paths: Sequence[str]) -> np.ndarray:
        """The rows (len(paths), D) of images, in the order that is asked for.

        A path of the file is taken as it stands, or as the end of an image's path, or by an end
        that both share: a class folder and a file name at least, of one row alone. File names
        alone will do where the file has nothing else.

        Raises:
            UserError: images without a row, or two images of one row.
        """
        found = [self._find(path) for path in paths]
        lost = [path for path, place in zip(paths, found, strict=True) if place is None]
        if lost:
            raise UserError(
                f"{self.source} has no row for {len(lost)} of {len(paths)} images (such as "
                f"{lost[0]}; its paths are like {self.paths[0]}); give the features of all images, "
                "under paths that end as theirs do"
            )
        for path, place in zip(paths, found, strict=True):
            other = self._owners.setdefault(place or 0, path)
            if os.path.abspath(other) != os.path.abspath(path):
                raise UserError(
                    f"{self.source} has one row for {other} and {path} "
                    f"({self.paths[place or 0]}); write its paths with their folders"
                )
        return self.rows[np.array(found, dtype=np.int64)]

    def _find(self, path: str) -> int | None:
        full = os.path.abspath(path).replace(os.sep, "/")
        for name in (path.replace(os.sep, "/"), self._known.find(full), full.rpartition("/")[2]):
            if name in self._places:
                return self._places[name]
        return None


def _places(paths: Sequence[str]) -> dict[str, int]:
    """Each path, and each end of two parts or more that one path alone has, to its row."""
    whole = {path: row for row, path in enumerate(paths)}
    ends: dict[str, int] = {}
    shared: set[str] = set()
    for path, row in whole.items():
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for start in range(max(0, len(parts) - 1)):
            end = "/".join(parts[start:])
            if ends.setdefault(end, row) != row:
                shared.add(end)
    return {end: row for end, row in ends.items() if end not in shared} | whole


def read_embeddings(path: str | Path) -> Embeddings:
    """The features in a file, checked.

    Raises:
        MissingFileError: no such file.
        UserError: an unknown format, absent or misshapen parts, a path twice, numbers that are
            infinite or none, a row of zeros.
    """
    path = at_home(path)
    if not is_file(path):
        raise MissingFileError(
            f"file of features {path} {no_file(path)}; check the name behind embeddings: "
            "(--backbone)"
        )
    readers = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".parquet": _parquet}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise UserError(
            f"{path} ends in {path.suffix or 'nothing'}; features are read from "
            f"{', '.join(SUFFIXES)}"
        )
    try:
        names, rows = read(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own many types for a damaged file
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as {path.suffix[1:]} ({first[:120]})") from error
    return Embeddings(str(path), *_checked(path, names, rows))


def _checked(path: Path, names: Any, rows: Any) -> tuple[list[str], np.ndarray]:
    matrix = np.asarray(rows)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number) or not matrix.size:
        raise UserError(
            f"{path}: features are {matrix.dtype} {matrix.shape}; a matrix of numbers is needed, a "
            "row for each image"
        )
    paths = [_text(name, path).replace("\\", "/") for name in np.asarray(names).reshape(-1)]
    if len(paths) != len(matrix):
        raise UserError(f"{path} has {len(paths)} paths for {len(matrix)} rows of features")
    twice = [name for name, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f"{path} has {len(twice)} paths twice (such as {twice[0]})")
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise UserError(
            f"{path}: {len(broken)} rows hold NaN or infinite numbers (such as that of "
            f"{paths[broken[0]]})"
        )
    empty = np.flatnonzero(~matrix.any(axis=1))
    if len(empty):
        raise UserError(
            f"{path}: {len(empty)} rows are all zeros (such as that of {paths[empty[0]]}), which "
            "have no direction"
        )
    return paths, matrix


def _text(name: Any, path: Path) -> str:
    text = name.decode("utf-8") if isinstance(name, bytes) else name
    if not isinstance(text, str) or not text:
        raise UserError(f"{path}: a path is {name!r}; paths are texts")
    return str(text)


def _pick(path: Path, there: Mapping[str, Any], wanted: Sequence[str]) -> Any:
    """The first of several names that a file has, whatever its capitals."""
    by_name = {name.lower(): name for name in there}
    found = next((by_name[name] for name in wanted if name in by_name), None)
    if found is None:
        raise UserError(
            f"{path} has no {wanted[0]!r} (it has {', '.join(sorted(there)) or 'nothing'}); write "
            "paths (N,) and features (N, D)"
        )
    return there[found]


def _npz(path: Path) -> tuple[Any, Any]:
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        there = {name: name for name in file.files}
        return file[_pick(path, there, PATHS)], file[_pick(path, there, FEATURES)]


def _hdf5(path: Path) -> tuple[Any, Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path} needs h5py ({error}): {install_hint('embeddings')}") from error
    with h5py.File(path, "r") as file:
        there = {name: part for name, part in file.items() if isinstance(part, h5py.Dataset)}
        return _pick(path, there, PATHS)[()], _pick(path, there, FEATURES)[()]


def _parquet(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow.parquet as parquet
        import pyarrow.types as types
    except ImportError as error:
        raise UserError(f"{path} needs pyarrow ({error}): {install_hint('embeddings')}") from error
    table = parquet.read_table(path)
    columns = {name: table.column(name) for name in table.column_names}
    names = _pick(path, columns, PATHS).to_pylist()
    lists = {n: c for n, c in columns.items() if types.is_list(c.type) or
             types.is_large_list(c.type) or types.is_fixed_size_list(c.type)}  # fmt: skip
    if lists:
        rows = _pick(path, lists, FEATURES) if len(lists) > 1 else next(iter(lists.values()))
        return names, _stacked(path, names, rows.to_pylist())
    numeric = [
        column.to_numpy() for column in columns.values()
        if types.is_floating(column.type) or types.is_integer(column.type)
    ]  # fmt: skip
    if not numeric:
        raise UserError(f"{path} has no column of lists and no numeric ones beside its paths")
    return names, np.stack(numeric, axis=1)


def _stacked(path: Path, names: Sequence[str], rows: Sequence[Any]) -> np.ndarray:
    """Lists of one length as a matrix."""
    lengths = Counter(-1 if row is None else len(row) for row in rows)
    usual = lengths.most_common(1)[0][0] if lengths else 0
    for name, row in zip(names, rows, strict=True):
        if row is None or len(row) != usual:
            raise UserError(
                f"{path}: {name} has {0 if row is None else len(row)} numbers, most others have "
                f"{usual}; a row has one number for each dimension"
            )
    return np.array(rows, dtype=np.float32)
