"""External centres: other data sets that a trained model is scored on, in the training's labels."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cerviclip import plugins
from cerviclip.counted import counted
from cerviclip.data.centers.coarse import NAMES, binary_map_of, group_of
from cerviclip.data.centers.common import KnownImages, all_images
from cerviclip.data.centers.known_patients import shared_patients, without_patients
from cerviclip.data.files.folders import class_folders
from cerviclip.data.files.names import class_map_of, clean, parts_of, quoted
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.patients import PatientPatternError
from dassl.config.defaults import DATASET as DEFAULTS
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_dir

if TYPE_CHECKING:
    from yacs.config import CfgNode

# Keys that describe the training data and mean nothing at another centre. Which images a centre is
# scored on is its own affair, so two trainings are scored on the same ones.
_OF_TRAINING = {
    **{key: DEFAULTS[key] for key in ("SPLIT_RATIO", "SPLIT_BY", "SPLIT_SEED")},
    "SPLIT_FILE": "",
    "FOLD": "",
    "DRAW_FILE": "",
    "SUBSAMPLE_CLASSES": "all",
    "TITLE": "",
    "FOLDER": "",
    "FILE": "",
    "POSITIVE": (),
    "DESCRIPTIONS": "",
    "PROMPT_SET": "",
    "TEMPLATES": (),
    "SOURCE_DOMAINS": (),
    "TARGET_DOMAINS": (),
    "NUM_SHOTS": -1,
}


def build_external_datasets(cfg: CfgNode, dataset: DatasetBase) -> dict[str, list[Datum]]:
    """The images of each external centre, labelled with the training's classes.

    Of a registered data set it is the test part of its own split, whatever the training's (a centre
    that is only tested on: all images), of a folder all images.

    Args:
        cfg: ``TEST.EXTERNAL`` names registered data sets, ``DATASET.EXTERNAL_FOLDERS`` maps names
            to folders (of a registered name: where that data set lies); ``DATASET.CLASS_MAP`` maps
            their class names to ours, "" leaving a class out.
        dataset: the data set of the training.

    Returns:
        Items by centre's name. A class without images there is fine.

    Raises:
        UserError: a centre has a class that the training does not know, or images of the
            training's own, be it as copies.
    """
    # A data set of centres as domains finds its own centres by the same key.
    domains = set(getattr(dataset, "domains", ()))
    folders = {k: v for k, v in cfg.DATASET.EXTERNAL_FOLDERS.items() if k not in domains}
    folders = {str(name): _folder_name(name, value) for name, value in folders.items()}
    centers: dict[str, list[Datum]] = {}
    for name in cfg.TEST.EXTERNAL:
        if name == cfg.DATASET.NAME:
            raise UserError(
                f"TEST.EXTERNAL names {name}, the data set of the training itself; take it out"
            )
        centers[name] = _registered(cfg, name, folders.pop(name, ""), dataset)
    for name, folder in folders.items():
        if name in centers or name == "test":
            raise UserError(
                f'DATASET.EXTERNAL_FOLDERS: the name "{name}" is taken; choose another one'
            )
        centers[name] = _folder(cfg, name, folder, dataset)
    _warn_of_idle_maps(cfg, dataset)
    if centers:
        checks = check_nothing_is_the_trainings(centers, dataset, cfg.DATASET.NAME)
        dataset.center_checks = checks  # type: ignore[attr-defined]
        _warn_of_unknown_patients(cfg, centers, dataset, list(folders))
    return centers


def _warn_of_unknown_patients(
    cfg: CfgNode,
    centers: Mapping[str, Sequence[Datum]],
    dataset: DatasetBase,
    folders: Sequence[str],
) -> None:
    """Warn of centres without patient ids beside a training that has them."""
    pattern = cfg.DATASET.PATIENT_PATTERN or getattr(dataset, "patient_pattern", "")
    patients = list(dict(all_images(dataset)).values())
    for text in without_patients(centers, patients, folders if pattern else ()):
        _keep_warnings(dataset, [text])
        warnings.warn(text, stacklevel=3)


def _warn_of_idle_maps(cfg: CfgNode, dataset: DatasetBase) -> None:
    """Warn of names in ``DATASET.CLASS_MAP`` that neither the data set nor a centre has; a file of
    maps for many centres (``CLASS_MAP_FILE``) is expected to hold some."""
    if cfg.DATASET.CLASS_MAP_FILE or not isinstance(dataset, ImagingDataset):
        return
    seen: set[str] = set()
    for source in (dataset, *getattr(dataset, "center_sources", {}).values()):
        seen |= getattr(source, "folder_names", set())
        seen |= {clean(name) for name in getattr(source, "classnames", ())}
    idle = sorted(class_map_of(dict(cfg.DATASET.CLASS_MAP)).keys() - seen)
    if idle:
        dataset.warn(
            f"DATASET.CLASS_MAP has {quoted(idle)}, which is no class of {cfg.DATASET.NAME} or of "
            "an external centre; check its spelling"
        )


def relabel(
    items: Sequence[Datum],
    center: str,
    dataset: DatasetBase,
    class_map: Mapping[str, str],
    mapped: Collection[str] = (),
    binary_map: Mapping[str, str] | None = None,
) -> list[Datum]:
    """Items with the labels of ``dataset``'s classes; classes mapped to "" are left out.

    Where a class is none of the training's and ``binary_map`` knows its group, all of the centre's
    labels become groups (``cerviclip.data.centers.coarse``).

    Args:
        items: the centre's images.
        centre: its name, for errors.
        dataset: the data set of the training.
        class_map: a class there: ours.
        mapped: paths of images whose folder's name has been through the map already.
        binary_map: ``DATASET.BINARY_MAP``.
    """
    labels = {name: label for label, name in dataset.lab2cname.items()}
    names = class_map_of(class_map)
    groups = binary_map_of(binary_map or {})
    aside = set(getattr(dataset, "classes_set_aside", ()))
    kept, coarse = [], False
    for item in items:
        name = item.classname
        if not (name in labels and item.impath in mapped):
            name = names.get(clean(name), name)
        if name == "" or name in aside:
            continue
        if name not in labels and name in groups:
            coarse = True
            if groups[name] is None:
                continue
        elif name not in labels:
            known = ", ".join(labels)
            raise UserError(
                f'{center} has the class "{name}", which the training on '
                f"{type(dataset).__name__} does not know (its classes: {known}); map it with "
                f'DATASET.CLASS_MAP ("{name}": one of them, or "" to leave it out), or say by '
                "DATASET.BINARY_MAP whether it is positive or negative"
            )
        kept.append((item, name))
    if not kept:
        raise UserError(f"{center} has no image of any class of the training; check its folder")
    if len(kept) < len(items):
        why = "DATASET.CLASS_MAP leaves"
        if coarse:
            why = "DATASET.CLASS_MAP and BINARY_MAP leave"
        elif aside:
            why = "DATASET.CLASS_MAP and SUBSAMPLE_CLASSES leave"
        print(f"{center}: {why} out {counted(len(items) - len(kept), 'image')}")
    if coarse:
        return _by_group(kept, center, dataset, groups)
    return [Datum(i.impath, labels[name], i.domain, name, i.patient_id) for i, name in kept]


def _by_group(
    kept: Sequence[tuple[Datum, str]],
    center: str,
    dataset: DatasetBase,
    groups: Mapping[str, int | None],
) -> list[Datum]:
    """Images with their group for a label, of a centre that does not know all classes."""
    positive = list(getattr(dataset, "positive_classes", ()))
    if not positive:
        raise UserError(
            f"{center} is scored by DATASET.BINARY_MAP, and the training has no positive group; "
            "name its classes in DATASET.POSITIVE"
        )
    items = []
    for item, name in kept:
        label = group_of(name, groups, positive)
        items.append(Datum(item.impath, label, item.domain, NAMES[label], item.patient_id))
    print(f"{center}: labels are positive or negative alone; only the positive group is scored")
    return items


def _folder_name(name: Any, value: Any) -> str:
    """A folder of ``DATASET.EXTERNAL_FOLDERS``, which yaml may have read as a number."""
    if value is None or isinstance(value, bool) or isinstance(name, bool) or name is None:
        raise UserError(
            f"DATASET.EXTERNAL_FOLDERS has {name!r}: {value!r}, as yaml reads on, off, yes, no, "
            "null and ~; write names and folders in quotes"
        )
    return str(value)


def _report(name: str, built: Any, dataset: Any, show: bool) -> None:
    """Show what a centre has read; keep it and its warnings with the training's, for ``flow``."""
    dataset.center_sources = {**getattr(dataset, "center_sources", {}), name: built}
    if show:
        print("\n".join(getattr(built, "summary", [])))
    _keep_warnings(dataset, getattr(built, "warnings", []))


def _keep_warnings(dataset: Any, texts: Sequence[str]) -> None:
    kept = getattr(dataset, "warnings", None)
    if isinstance(kept, list):
        kept += [text for text in texts if text not in kept]


def _registered(cfg: CfgNode, name: str, folder: str, dataset: DatasetBase) -> list[Datum]:
    kind = plugins.ensure_loaded("dataset", name)
    other = _options(cfg, name, folder)
    own_classes = set(getattr(kind, "classes", ()))
    if not set(other.DATASET.CLASSES) <= own_classes:
        other.DATASET.CLASSES = ()
    if isinstance(kind, type) and issubclass(kind, ImagingDataset):
        kind = type(kind.__name__, (kind,), {"is_external": True})
    built = _with_patients(kind, other)
    _report(name, built, dataset, cfg.VERBOSE)
    mapped = getattr(built, "mapped", ())
    options = cfg.DATASET
    return relabel(
        built.test, name, dataset, dict(options.CLASS_MAP), mapped, dict(options.BINARY_MAP)
    )


def _with_patients(kind: Any, other: CfgNode) -> Any:
    """A registered centre with its own patients: from its names, or from its release's lists. The
    config's pattern, which is for the training's file names, is taken only where it tells none."""
    stated, per_class = other.DATASET.PATIENT_PATTERN, other.DATASET.PATIENT_PER_CLASS
    if not stated:
        return kind(other)
    own = None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        other.DATASET.PATIENT_PATTERN, other.DATASET.PATIENT_PER_CLASS = "", False
        with suppress(PatientPatternError):
            own = kind(other)
    if own is None or not getattr(own, "patients_known", False):
        other.DATASET.PATIENT_PATTERN, other.DATASET.PATIENT_PER_CLASS = stated, per_class
        try:
            return kind(other)
        except PatientPatternError:
            if own is None:
                raise
    for warning in told:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return own


class _Center(ImagingDataset):
    """A folder of class folders that is only tested on."""

    test_only = is_external = True

    def scan(self, cfg: CfgNode) -> Iterator[tuple[str, str]]:
        """As ever, but for a folder of parts, of which one must be named."""
        parts = class_folders(self.image_dir)
        if len(parts) > 1 and len(parts_of(parts)) == len(parts):
            raise UserError(
                f"{self.image_dir} holds the parts of a split ({', '.join(parts)}) rather than "
                f"class folders; name one: DATASET.EXTERNAL_FOLDERS.{self.name} "
                f"{self.image_dir / parts[0]}"
            )
        yield from super().scan(cfg)


def _folder(cfg: CfgNode, name: str, folder: str, dataset: DatasetBase) -> list[Datum]:
    other = _options(cfg, name, folder)
    other.DATASET.CLASSES = ()
    kind = type(name, (_Center,), {})  # errors say the name that the user gave
    patterns = [cfg.DATASET.PATIENT_PATTERN, getattr(dataset, "patient_pattern", "")]
    for pattern in (*filter(None, patterns), ""):
        other.DATASET.PATIENT_PATTERN = pattern
        try:
            built = kind(other)
        except PatientPatternError:
            continue
        break
    _report(name, built, dataset, cfg.VERBOSE)
    options = cfg.DATASET
    return relabel(
        built.test, name, dataset, dict(options.CLASS_MAP), built.mapped, dict(options.BINARY_MAP)
    )


def check_nothing_is_the_trainings(
    centers: Mapping[str, Sequence[Datum]], dataset: DatasetBase, training: str
) -> dict[str, dict[str, Any]]:
    """Refuse a centre with an image that the training's data set has too, in whichever part, as the
    same file or as a copy of it; warn of patients with the same name.

    Args:
        centres: images by centre's name.
        dataset: the data set of the training.
        training: its name.

    Returns:
        Of each centre how many ``images_of_training`` and ``shared_patient_ids`` were found; these
        are None with a ``reason`` where patients are not known.

    Raises:
        UserError: a centre has such an image.
    """
    return check_no_common_images(centers, dict(all_images(dataset)), training, dataset)


def check_no_common_images(
    centers: Mapping[str, Sequence[Datum]],
    images: Mapping[str, str],
    training: str,
    dataset: DatasetBase | None = None,
) -> dict[str, dict[str, Any]]:
    """The same for the images of a training, however they are known.

    Args:
        centers: images by centre's name.
        images: the patient ("" where nobody knows) by path of each image of the training.
        training: its name.
        dataset: keeps what is warned of.

    Raises:
        UserError: a centre has such an image.
    """
    patients = list(images.values())
    known = KnownImages(images)
    found: dict[str, dict[str, Any]] = {}
    for name, items in centers.items():
        paths = [item.impath for item in items]
        common = known.found_in(paths)
        if common:
            raise UserError(
                f"external centre {name}: {len(common)} of its {len(items)} images belong to "
                f"{training}, the data set of the training itself (such as {common[0]}); an "
                "external centre has none of its images, nor copies of them"
            )
        ids = [item.patient_id for item in items]
        shared, told = shared_patients(name, ids, training, patients)
        found[name] = {"images_of_training": len(common), **told}
        if shared:
            text = (
                f"external centre {name} shares {len(shared)} patient ids with {training} (such as "
                f"{shared[0]}); if they are the same people, the centre is not external"
            )
            if dataset is not None:
                _keep_warnings(dataset, [text])
            warnings.warn(text, stacklevel=4)
    return found


def _options(cfg: CfgNode, name: str, folder: str) -> CfgNode:
    """The config with another data set in place of the training's."""
    other = cfg.clone()
    other.defrost()
    other.VERBOSE = False
    other.DATASET.NAME = name
    for key, value in _OF_TRAINING.items():
        other.DATASET[key] = value
    if folder:
        in_root = at_home(cfg.DATASET.ROOT or ".") / folder
        path = in_root if is_dir(in_root) else at_home(folder)
        if not is_dir(path):
            raise MissingFileError(
                f"DATASET.EXTERNAL_FOLDERS.{name}: there is no folder {folder}, neither under "
                f"DATASET.ROOT nor here"
            )
        other.DATASET.FOLDER = str(path.absolute())
    return other
