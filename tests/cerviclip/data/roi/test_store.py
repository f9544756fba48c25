"""ROIs on disk: found once for all processes, the same with and without, damage found again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cerviclip.data.roi import surface as tissue_surface
from cerviclip.data.roi.finder import RoiFinder
from cerviclip.data.roi.store import RoiStore, StoredRoi
from cerviclip.environment import cache_folder


@pytest.fixture
def frame(tmp_path):
    """A frame whose tissue begins at a sloping surface."""
    pixels = np.zeros((96, 130), np.uint8)
    for column in range(130):
        pixels[40 + column // 10 :, column] = 150
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    return str(tmp_path / "frame.png")


def fresh(monkeypatch, kind="mask", source="surface", checkpoint=""):
    """A finder as of another process: it knows nothing but what is on disk."""
    monkeypatch.setattr(RoiFinder, "_known", {})
    return RoiFinder(source, kind, checkpoint)


def stored_files() -> list[Path]:
    return sorted(p for p in (cache_folder() / "rois").rglob("*") if p.is_file())


def forbid(monkeypatch):
    def fail(image):
        raise AssertionError("looked for tissue again")

    monkeypatch.setattr(tissue_surface, "tissue_mask", fail)


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_another_process_reads_the_very_roi(frame, kind, monkeypatch):
    first = np.asarray(fresh(monkeypatch, kind).mask(frame))
    assert 0 < (first == 255).mean() < 1 and len(stored_files()) == 1
    forbid(monkeypatch)
    assert np.array_equal(np.asarray(fresh(monkeypatch, kind).mask(frame)), first)


def test_an_image_is_known_by_its_content(frame, tmp_path, monkeypatch):
    first = np.asarray(fresh(monkeypatch).mask(frame))
    moved = tmp_path / "elsewhere" / "copy.png"
    moved.parent.mkdir()
    shutil.copy(frame, moved)
    blank = Image.fromarray(np.full((96, 130), 9, np.uint8))
    Path(frame).unlink()
    blank.save(frame)  # another image under the old name
    finder = fresh(monkeypatch)
    assert (np.asarray(finder.mask(frame)) == 255).all()
    assert finder.record["not_found_images"] == ["frame.png"]
    forbid(monkeypatch)
    assert np.array_equal(np.asarray(finder.mask(str(moved))), first)


def test_that_nothing_was_found_is_stored_and_counted_too(tmp_path, monkeypatch):
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    for again in (False, True):
        finder = fresh(monkeypatch)
        assert (np.asarray(finder.mask(str(tmp_path / "black.png"))) == 255).all()
        assert finder.record["not_found"] == 1
        if not again:
            forbid(monkeypatch)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"0123456789abcdef [[96, 130], 3]", None])
def test_a_damaged_file_is_found_and_written_anew(frame, damage, monkeypatch):
    first = np.asarray(fresh(monkeypatch).mask(frame))
    (file,) = stored_files()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] if damage is None else damage)
    assert np.array_equal(np.asarray(fresh(monkeypatch).mask(frame)), first)
    assert file.read_bytes() == whole


def test_another_detector_or_kind_never_meets_the_old_entries(frame, monkeypatch):
    fresh(monkeypatch, "box").mask(frame)
    fresh(monkeypatch, "mask").mask(frame)
    monkeypatch.setattr("cerviclip.data.roi.sources.file_sha256", lambda path: "0" * 64)
    fresh(monkeypatch, "mask").mask(frame)
    assert len({file.parents[1] for file in stored_files()}) == 3


def test_a_segmenter_is_known_by_its_weights(frame, tmp_path, monkeypatch):
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra [segment]")
    from cerviclip.data.roi.segmenters import Segmenter, SegmenterSpec

    path = tmp_path / "segmenter.safetensors"
    masks = []
    for bias in (20.0, -20.0):  # tissue everywhere, nowhere
        model = Segmenter(SegmenterSpec(size=32))
        model.network.segmentation_head[0].bias.data.fill_(bias)
        model.save(path)
        finder = fresh(monkeypatch, source="segmenter", checkpoint=str(path))
        finder.mask(frame)
        masks.append(finder.record["not_found"])
    assert masks == [0, 1] and len(stored_files()) == 2


def test_mask_files_and_the_full_image_are_not_stored(frame, tmp_path, monkeypatch):
    (tmp_path / "masks").mkdir()
    inside = np.zeros((96, 130), np.uint8)
    inside[60:] = 1
    Image.fromarray(inside).save(tmp_path / "masks" / "frame.png")
    finder = fresh(monkeypatch, source="masks")
    assert (np.asarray(finder.mask(frame)) == 255).sum() == 36 * 130
    inside[50:] = 1
    Image.fromarray(inside).save(tmp_path / "masks" / "frame.png")
    os.utime(tmp_path / "masks" / "frame.png", ns=(1, 1))
    assert (np.asarray(finder.mask(frame)) == 255).sum() == 46 * 130  # a new mask is read anew
    fresh(monkeypatch, source="full").mask(frame)
    assert stored_files() == []


def test_a_folder_that_cannot_be_written_is_reported_once(frame, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "file"))
    finder = fresh(monkeypatch)
    with pytest.warns(UserWarning, match="ROIs are not stored"):
        first = np.asarray(finder.mask(frame))
    monkeypatch.setattr(RoiFinder, "_known", {})
    assert np.array_equal(np.asarray(finder.mask(frame)), first)  # silently


def _write_many(folder: str, worker: int) -> None:
    store = RoiStore("test", "box", Path(folder))
    for i in range(200):
        store.put(f"{i % 20:064x}", StoredRoi((10, 10), i % 20))
        found = store.get(f"{(i * 7 + worker) % 20:064x}")
        assert found is None or found.found == (i * 7 + worker) % 20


def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(str(tmp_path), i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = RoiStore("test", "box", tmp_path)
    assert [store.get(f"{i:064x}").found for i in range(20)] == list(range(20))
    assert not [p for p in tmp_path.rglob(".tmp-*")]
