"""A data set with one fault of each kind that `cerviclip check` knows, and a clean one.

`write_clean(folder)` is what both begin with: three classes, two parts, patients in the file names.
Each function of `FAULTS` plants one kind of fault and says which findings must name it.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

CLASSES = ("alpha", "beta", "gamma")
PATTERN = r"(P\d+)"
EDGE = 64  # px
_PER_PART = {"train": 3, "test": 2}


def picture(number: int, edge: int = EDGE) -> np.ndarray:
    """A picture (edge, edge, 3) that no other number gives: smooth blobs of its own."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(20, 235, (5, 5, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((edge, edge), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image) + rng.normal(0, 4, (edge, edge, 3)), 1, 254).astype(np.uint8)


def write_clean(folder: Path) -> Path:
    """15 images: three classes in train and test, a patient for each."""
    number = 0
    for part, count in _PER_PART.items():
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for _ in range(count):
                number += 1
                path = folder / part / name / f"P{number:03d}.png"
                Image.fromarray(picture(number)).save(path, compress_level=1)
    return folder


def _new(name: str) -> Image.Image:
    return Image.fromarray(picture(int(name[1:])))


def _original(folder: Path, name: str) -> Path:
    """A picture to make a copy of, in train and alpha, of another patient than the copy's."""
    number = int(name[1:]) - 200
    path = folder / f"train/alpha/P{number}.png"
    path.write_bytes(_png(number))
    return path


def empty_file(folder: Path, name: str = "P901") -> set[str]:
    (folder / f"train/alpha/{name}.png").write_bytes(b"")
    return {"empty_file"}


def truncated_png(folder: Path, name: str = "P901") -> set[str]:
    path = folder / "train/alpha/P002.png"
    path.write_bytes(path.read_bytes()[:-2000])
    return {"truncated"}


def truncated_jpeg(folder: Path, name: str = "P901") -> set[str]:
    path = folder / f"train/alpha/{name}.jpg"
    _new(name).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    return {"truncated"}


def no_image(folder: Path, name: str = "P901") -> set[str]:
    (folder / f"train/alpha/{name}.png").write_text("<html>404 not found</html>")
    return {"unreadable"}


def not_finite(folder: Path, name: str = "P901") -> set[str]:
    values = np.linspace(0, 1, EDGE * EDGE, dtype=np.float32).reshape(EDGE, EDGE)
    values[3, 3] = np.nan
    Image.fromarray(values).save(folder / f"train/alpha/{name}.tif")
    return {"not_finite"}


def blank(folder: Path, name: str = "P901") -> set[str]:
    Image.new("RGB", (EDGE, EDGE), (90, 90, 90)).save(folder / f"train/alpha/{name}.png")
    return {"blank"}


def saturated(folder: Path, name: str = "P901") -> set[str]:
    pixels = np.full((EDGE, EDGE, 3), 255, np.uint8)
    pixels[:8, :8] = picture(7, 8)
    Image.fromarray(pixels).save(folder / f"train/alpha/{name}.png")
    return {"saturated"}


def cut_jpeg_with_an_end(folder: Path, name: str = "P901") -> set[str]:
    """Half of its data and a proper end: Pillow reads it without a word."""
    file = folder / f"train/alpha/{name}.jpg"
    _new(name).save(file, quality=90)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    return {"lost_rows"}


def tiny(folder: Path, name: str = "P901") -> set[str]:
    Image.fromarray(picture(int(name[1:]), 24)).save(folder / f"train/alpha/{name}.png")
    return {"tiny"}


def thin(folder: Path, name: str = "P901") -> set[str]:
    Image.fromarray(np.tile(picture(int(name[1:]), 40), (1, 10, 1))).save(
        folder / f"train/alpha/{name}.png"
    )
    return {"thin"}


def odd_size(folder: Path, name: str = "P901") -> set[str]:
    Image.fromarray(picture(int(name[1:]), 300)).save(folder / f"train/alpha/{name}.png")
    return {"odd_size"}


def grey_among_color(folder: Path, name: str = "P901") -> set[str]:
    _new(name).convert("L").save(folder / f"train/alpha/{name}.png")
    return {"modes"}


def palette_among_color(folder: Path, name: str = "P901") -> set[str]:
    _new(name).quantize(64).save(folder / f"train/alpha/{name}.png")
    return {"modes"}


def deep(folder: Path, name: str = "P901") -> set[str]:
    grey = np.asarray(_new(name).convert("L")).astype(np.uint16) * 16
    Image.fromarray(grey).save(folder / f"train/alpha/{name}.png")
    return {"bit_depth"}


def transparent(folder: Path, name: str = "P901") -> set[str]:
    image = _new(name).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((EDGE, EDGE)))
    image.save(folder / f"train/alpha/{name}.png")
    return {"transparent"}


def other_profile(folder: Path, name: str = "P901") -> set[str]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    _new(name).save(folder / f"train/alpha/{name}.png", icc_profile=profile)
    return {"profiles"}


def turned_by_exif(folder: Path, name: str = "P901") -> set[str]:
    exif = Image.Exif()
    exif[0x0112] = 6
    _new(name).save(folder / f"train/alpha/{name}.jpg", exif=exif, quality=95)
    return {"orientation"}


def frames(folder: Path, name: str = "P901") -> set[str]:
    pages = [Image.fromarray(picture(n)) for n in (int(name[1:]), int(name[1:]) + 1000)]
    pages[0].save(folder / f"train/alpha/{name}.tif", save_all=True, append_images=pages[1:])
    return {"frames"}


def wrong_suffix(folder: Path, name: str = "P901") -> set[str]:
    _new(name).save(folder / f"train/alpha/{name}.png", format="jpeg", quality=95)
    return {"suffix"}


def size_tells_class(folder: Path, name: str = "P901") -> set[str]:
    for n, classname in enumerate(CLASSES):
        for k in range(8):
            image = Image.fromarray(picture(3000 + 10 * n + k))
            image.save(folder / f"train/{classname}/P{300 + 10 * n + k}.png")
        for path in sorted(folder.glob(f"*/{classname}/*.png")):
            with Image.open(path) as image:
                image.load()
            image.resize((EDGE + 8 * n, EDGE)).save(path)
    return {"told_by_file"}


def same_file_in_parts(folder: Path, name: str = "P901") -> set[str]:
    shutil.copy(_original(folder, name), folder / f"test/alpha/{name}.png")
    return {"bytes_across_parts"}


def same_file_in_classes(folder: Path, name: str = "P901") -> set[str]:
    shutil.copy(_original(folder, name), folder / f"train/beta/{name}.png")
    return {"bytes_across_classes"}


def same_file(folder: Path, name: str = "P901") -> set[str]:
    shutil.copy(_original(folder, name), folder / f"train/alpha/{name}.png")
    return {"bytes"}


def _saved_anew(folder: Path, target: str) -> None:
    """The very pixels with other bytes: a text chunk says so."""
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "exported")
    with Image.open(_original(folder, Path(target).stem)) as image:
        image.save(folder / target, pnginfo=info)


def same_pixels_in_parts(folder: Path, name: str = "P901") -> set[str]:
    _saved_anew(folder, f"test/alpha/{name}.png")
    return {"pixels_across_parts"}


def same_pixels_in_classes(folder: Path, name: str = "P901") -> set[str]:
    _saved_anew(folder, f"train/beta/{name}.png")
    return {"pixels_across_classes"}


def same_pixels(folder: Path, name: str = "P901") -> set[str]:
    _saved_anew(folder, f"train/alpha/{name}.png")
    return {"pixels"}


def _altered(folder: Path, target: str, way: Image.Transpose | None = None) -> None:
    """Nearly the same picture: brighter, a little smaller, compressed, perhaps turned."""
    with Image.open(_original(folder, Path(target).stem)) as image:
        smaller = image.resize((EDGE - 6, EDGE - 6)).point(lambda v: min(255, int(v * 1.06)))
    smaller = smaller if way is None else smaller.transpose(way)
    smaller.save(folder / target, format="png")


def alike_in_parts(folder: Path, name: str = "P901") -> set[str]:
    _altered(folder, f"test/alpha/{name}.png")
    return {"alike_across_parts"}


def mirrored_in_parts(folder: Path, name: str = "P901") -> set[str]:
    _altered(folder, f"test/alpha/{name}.png", Image.Transpose.FLIP_LEFT_RIGHT)
    return {"alike_across_parts"}


def alike_in_classes(folder: Path, name: str = "P901") -> set[str]:
    _altered(folder, f"train/beta/{name}.png", Image.Transpose.ROTATE_90)
    return {"alike_across_classes"}


def alike(folder: Path, name: str = "P901") -> set[str]:
    _altered(folder, f"train/alpha/{name}.png")
    return {"alike"}


def patient_in_parts(folder: Path, name: str = "P901") -> set[str]:
    (folder / "test/beta").joinpath(f"P001_{name}.png").write_bytes(_png(int(name[1:])))
    return {"patient_leak", "patient_classes"}


def patient_in_classes(folder: Path, name: str = "P901") -> set[str]:
    (folder / f"train/beta/P002_{name}.png").write_bytes(_png(int(name[1:])))
    return {"patient_classes"}


def no_patient(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train/beta/cell.png").write_bytes(_png(int(name[1:])))
    return {"no_patient"}


def imbalance(folder: Path, name: str = "P901") -> set[str]:
    for n in range(60):
        (folder / f"train/alpha/P{200 + n}.png").write_bytes(_png(2000 + n))
    return {"imbalance"}


def few_images(folder: Path, name: str = "P901") -> set[str]:
    for part in ("train", "test"):
        (folder / part / "delta").mkdir()
        (folder / part / f"delta/P90{len(part)}.png").write_bytes(_png(900 + len(part)))
    return {"few_images"}


def class_in_one_part(folder: Path, name: str = "P901") -> set[str]:
    shutil.rmtree(folder / "test/gamma")
    return {"class_gap"}


def one_class(folder: Path, name: str = "P901") -> set[str]:
    for part in ("train", "test"):
        for other in CLASSES[1:]:
            shutil.rmtree(folder / part / other)
    return {"one_class"}


def empty_class(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train/epsilon").mkdir()
    return {"empty_class"}


def near_class_names(folder: Path, name: str = "P901") -> set[str]:
    (folder / "test/gamma").rename(folder / "test/Gamma ")
    return {"class_names", "blank_in_name", "class_gap"}


def number_names(folder: Path, name: str = "P901") -> set[str]:
    for part in ("train", "test"):
        (folder / part / "gamma").rename(folder / part / "3")
    return {"number_names"}


def decomposed_name(folder: Path, name: str = "P901") -> set[str]:
    for part in ("train", "test"):
        (folder / part / "gamma").rename(folder / part / "cervicite\u0301")
    return {"blank_in_name"}


def not_utf8(folder: Path, name: str = "P901") -> set[str]:
    path = os.path.join(os.fsencode(folder), b"train/alpha/%s_\xe9.png" % name.encode())
    with open(path, "wb") as file:
        file.write(_png(int(name[1:])))
    return {"file_names"}


def same_name(folder: Path, name: str = "P901") -> set[str]:
    _new(name).save(folder / "train/alpha/p001.PNG")
    return {"same_name"}


def masks_by_content(folder: Path, name: str = "P901") -> set[str]:
    cell = np.zeros((EDGE, EDGE), np.uint8)
    cell[10:40, 12:50] = 1
    cell[20:30, 20:30] = 2
    Image.fromarray(cell * 90).convert("RGB").save(folder / f"train/alpha/{name}.png")
    return {"mask_like"}


def masks(folder: Path, name: str = "P901") -> set[str]:
    for path in sorted(folder.glob("train/alpha/*.png")):
        with Image.open(path) as image:
            mask = image.convert("L").point(lambda v: 255 * (v > 128)).convert("RGB")
        mask.save(path.with_name(f"{path.stem}_mask.png"))
    return {"masks"}


def crops_beside_fields(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train/alpha/CROPPED").mkdir()
    (folder / "train/alpha/CROPPED/P001_1.png").write_bytes(_png(int(name[1:])))
    return {"levels"}


def unread(folder: Path, name: str = "P901") -> set[str]:
    (folder / f"train/alpha/{name}.dcm").write_bytes(b"DICM")
    return {"unread"}


def system_files(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train/alpha/@eaDir").mkdir()
    (folder / "train/alpha/@eaDir/P001.png").write_bytes(_png(int(name[1:])))
    return {"system_files"}


def link_back(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train/alpha/up").symlink_to(folder / "train", target_is_directory=True)
    return {"links"}


def stray(folder: Path, name: str = "P901") -> set[str]:
    (folder / f"train/{name}.png").write_bytes(_png(int(name[1:])))
    return {"stray"}


def part_twice(folder: Path, name: str = "P901") -> set[str]:
    shutil.copytree(folder / "train", folder / "Training")
    return {"part_folders", "bytes"}


def no_train(folder: Path, name: str = "P901") -> set[str]:
    (folder / "train").rename(folder / "validation")
    return {"part_folders"}


def _png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(number)).save(stream, "png", compress_level=1)
    return stream.getvalue()


#: What plants a fault, and (as its result) the kinds of finding that must tell of it.
FAULTS: tuple[Callable[[Path], set[str]], ...] = (
    *(empty_file, truncated_png, truncated_jpeg, no_image, not_finite, blank, saturated, tiny),
    *(thin, odd_size, grey_among_color, palette_among_color, deep, transparent, other_profile),
    turned_by_exif,
    cut_jpeg_with_an_end,
    *(frames, wrong_suffix, size_tells_class, same_file_in_parts, same_file_in_classes),
    *(same_file, same_pixels_in_parts, same_pixels_in_classes, same_pixels, alike_in_parts),
    *(mirrored_in_parts, alike_in_classes, alike, patient_in_parts, patient_in_classes),
    *(no_patient, imbalance, few_images, class_in_one_part, one_class, empty_class),
    *(
        near_class_names,
        number_names,
        decomposed_name,
        not_utf8,
        same_name,
        masks,
        masks_by_content,
    ),
    *(crops_beside_fields, unread, system_files, link_back, stray, part_twice, no_train),
)
#: Those that move or drown what the others have planted, and so stand alone.
DESTRUCTIVE = (
    *(size_tells_class, class_in_one_part, one_class, near_class_names, number_names),
    *(decomposed_name, part_twice, no_train, masks),
)
