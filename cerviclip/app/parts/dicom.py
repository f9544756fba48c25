"""The frames of a DICOM file as 8-bit RGB. Nothing but pixels leaves this module: no tag that could
name a patient is returned, shown or logged."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from cerviclip.app.parts.encapsulated import misfit
from cerviclip.places import install_hint
from dassl.errors import UserError

_DEFLATED = "1.2.840.10008.1.2.1.99"  # its whole body is zlib: a small file may fill the memory


class DicomError(UserError):
    """A DICOM file that is not taken.

    Args:
        message: without any value of a tag but numbers of the picture.
        too_large: it is over a limit.
    """

    def __init__(self, message: str, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file does."""
    return data[128:132] == b"DICM"


MOST_FRAMES = 100_000  # of a file of which one frame is read


def dicom_frames(
    data: bytes, pixels: int, frames: int, only: int | None = None
) -> list[np.ndarray]:
    """Every frame (H, W, 3), uint8: rescaled, windowed as the file says, dark for low values.

    Without a window the lowest value becomes 0 and the highest 255. Patient orientation is left as
    stored, since pictures of cells and OCT have none.

    Args:
        data: the file.
        pixels: most that all frames may have together.
        frames: most that there may be.
        only: the frame, from 0, that is read alone; ``pixels`` then counts it alone.

    Raises:
        DicomError: no pixels, too many, a compressed picture of another size than the header
            has, or a compression that this installation cannot read.
    """
    try:
        import pydicom
    except ImportError as error:
        raise DicomError(f"DICOM needs pydicom: {install_hint('dicom')}") from error
    try:
        meta = pydicom.filereader.read_partial(
            io.BytesIO(data), stop_when=lambda tag, vr, length: True
        ).file_meta
        if meta.get("TransferSyntaxUID") == _DEFLATED:
            raise DicomError("it is a deflated DICOM file; save it without this compression")
        file = pydicom.dcmread(io.BytesIO(data))
        if lacking := _lacking(file):
            raise DicomError(lacking)
        count = int(file.get("NumberOfFrames") or 1)
        size = int(file.Rows) * int(file.Columns)
        if only is not None and only >= count:
            raise DicomError(f"it has {count} frames, counted from 0, and no frame {only}")
        if count > frames or size * (count if only is None else 1) > pixels:
            raise DicomError(
                f"it has {count} frames of {size} px, over the limit; choose one of them",
                too_large=True,
            )
        wrong = _unlike_its_header(file, count) or misfit(file, count)
        if wrong:
            raise DicomError(wrong)
        return [_rgb(file, frame) for frame in _frames_of(data, count, only)]
    except DicomError:
        raise
    except Exception as error:  # pydicom's readers raise anything, and their words may hold tags
        raise DicomError(f"its DICOM pixels cannot be read ({type(error).__name__})") from error


_NEEDED = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation"),
)
_PALETTE = tuple(f"{c}PaletteColorLookupTableDescriptor" for c in ("Red", "Green", "Blue"))


def _lacking(file: Any) -> str:
    """Which elements a file needs and does not have, or has empty; "" where none."""
    if "PixelData" not in file:
        floats = [name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in file]
        if floats:
            return "its pixels are floats, which are not read; save them as 16-bit integers"
        return "it has no pixels (PixelData), as reports and presentation states have none"
    needed: tuple[str, ...] = _NEEDED
    if str(file.get("PhotometricInterpretation")) == "PALETTE COLOR":
        needed += _PALETTE
    lacking = [name for name in needed if file.get(name) is None]
    if not lacking:
        return ""
    return f"its DICOM header has no {', '.join(lacking)}; export it again from its source"


def _unlike_its_header(file: Any, count: int) -> str:
    """What of the header would give a wrong picture without an error; "" where nothing."""
    stored, allocated = int(file.BitsStored), int(file.BitsAllocated)
    high = int(file.get("HighBit", stored - 1))
    if high != stored - 1:  # pydicom cuts the upper bits off
        return (
            f"its {stored} bits end at bit {high} of {allocated}, as of old DICOM files, which is "
            f"not read; save it with HighBit {stored - 1}"
        )
    if float(file.get("RescaleSlope", 1) or 0) == 0:
        return "its RescaleSlope is 0, which makes every pixel equal; correct it, or take it out"
    width = file.get("WindowWidth")
    widths = [width] if isinstance(width, (int, float, str)) else list(width or ())
    if not all(float(one) > 0 for one in widths):
        return "its WindowWidth is not above 0; correct the window, or take it out"
    if file.file_meta.TransferSyntaxUID.is_encapsulated:
        return ""
    bits = int(file.Rows) * int(file.Columns) * int(file.SamplesPerPixel) * allocated * count
    if "422" in str(file.PhotometricInterpretation):
        bits = bits * 2 // 3
    has, needs = len(file.PixelData), (bits + 7) // 8
    return f"it is cut off: {has} of {needs} bytes of pixels" if has < needs else ""


def _frames_of(data: bytes, count: int, only: int | None) -> list[np.ndarray]:
    from pydicom.pixels import pixel_array

    # pydicom turns YBR into RGB on the way.
    values = np.asarray(pixel_array(io.BytesIO(data), index=only))
    return list(values[None] if only is not None or count == 1 else values)


def _rgb(file: Any, values: np.ndarray) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    kind = str(file.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        values = np.asarray(apply_color_lut(values, file))
        return (values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8)[..., :3]
    if values.ndim == 3:
        deep = int(file.BitsStored)
        return (values >> (deep - 8) if deep > 8 else values).astype(np.uint8)
    grey = np.asarray(apply_voi_lut(apply_modality_lut(values, file), file), dtype=np.float64)
    low, high = _window(file, grey)
    scaled = np.clip((grey - low) / max(high - low, 1e-12), 0, 1)
    if kind == "MONOCHROME1":
        scaled = 1 - scaled
    return np.repeat(np.round(255 * scaled).astype(np.uint8)[..., None], 3, axis=2)


def _window(file: Any, grey: np.ndarray) -> tuple[float, float]:
    """What becomes 0 and 255. Behind a window pydicom gives the whole range of stored values."""
    if "WindowWidth" in file and "VOILUTSequence" not in file:
        bits, signed = int(file.BitsStored), bool(file.get("PixelRepresentation", 0))
        slope, cut = float(file.get("RescaleSlope", 1)), float(file.get("RescaleIntercept", 0))
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return min(e * slope + cut for e in ends), max(e * slope + cut for e in ends)
    if int(file.BitsStored) == 8 and "RescaleSlope" not in file:
        return 0.0, 255.0
    return float(grey.min()), float(grey.max())
