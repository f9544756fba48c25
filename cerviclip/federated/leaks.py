"""Before a federation on one machine: no image of a centre is an image of another.

The averaged weights have learned from the training images of all centres, so an image that two of
them have would be tested on as if it were unseen.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.centers.common import KnownImages, all_images
from cerviclip.data.centers.known_patients import shared_patients
from cerviclip.federated.plan import Plan
from cerviclip.federated.record import folder_of
from cerviclip.runs.settings.folders import WAYS
from dassl.errors import UserError

NOT_LOOKED_FOR = (
    "Nobody has looked for images or patients that several centres have: this takes the images of "
    "all centres in one place. A test image that another centre has trained on makes the federated "
    "scores too good."
)


@dataclass
class Images:
    """One centre's images.

    Attributes:
        patients: the patient ("" where nobody knows) by path of each image.
        external: paths by name of what it is tested on besides (``TEST.EXTERNAL``).
        classes: its class names, in the order of its labels.
    """

    patients: Mapping[str, str]
    external: Mapping[str, Sequence[str]] = field(default_factory=dict)
    classes: Sequence[str] = ()


def images_of(plan: Plan, out: Path) -> dict[str, Images]:
    """The images of every centre of a plan, in silence: the runs themselves describe them.

    Raises:
        UserError: a folder, class, pattern or external centre that cannot be.
    """
    from cerviclip.data.centers.external import build_external_datasets
    from cerviclip.runs.settings.configure import setup_cfg
    from dassl.data.datasets import build_dataset

    found = {}
    for site in plan.centers:
        cfg = setup_cfg(plan.request(site, folder_of(out, WAYS[0], site.name)))
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = build_dataset(cfg)
            external = build_external_datasets(cfg, dataset)
        paths = {name: [item.impath for item in items] for name, items in external.items()}
        found[site.name] = Images(dict(all_images(dataset)), paths, list(dataset.classnames))
    return found


def check_centers(centers: Mapping[str, Images]) -> list[dict[str, Any]]:
    """Refuse centres of other classes and images that two centres have; find patients with the same
    name.

    Returns:
        Of each two centres how many ``images_in_both`` and ``shared_patient_ids`` were found, with
        an ``example``; the latter are None with a ``reason`` where patients are not known.

    Raises:
        UserError: two centres have the same image, or one is tested on images of another.
    """
    first, *others = centers
    for name in others:
        check_same_classes(first, centers[first].classes, name, centers[name].classes)
    known = {name: KnownImages(own.patients) for name, own in centers.items()}
    for one, two in combinations(centers, 2):
        paths = list(centers[two].patients)
        if common := known[one].found_in(paths):
            raise UserError(
                f"{len(common)} of the {counted(len(paths), 'image')} of centre {two} "
                f"{'is' if len(common) == 1 else 'are'} of centre {one} too (such as {common[0]}), "
                "so the averaged weights would be tested on what they have learned from; take "
                "them out of one of the two"
            )
    for one, two in permutations(centers, 2):
        for name, tested in centers[one].external.items():
            if common := known[two].found_in(tested):
                raise UserError(
                    f"centre {one} is tested on {name} (TEST.EXTERNAL or "
                    f"DATASET.EXTERNAL_FOLDERS), and {len(common)} of its "
                    f"{counted(len(tested), 'image')} {'is' if len(common) == 1 else 'are'} of "
                    f"centre {two} (such as {common[0]}), from which the averaged weights learn; "
                    "take it out"
                )
    return [_patients(one, two, centers) for one, two in combinations(centers, 2)]


def check_same_classes(one: str, classes: Sequence[str], two: str, others: Sequence[str]) -> None:
    """Refuse two centres whose labels mean different classes."""
    if list(classes) != list(others):
        raise UserError(
            f"centres {one} and {two} have different classes ({', '.join(classes)}; "
            f"{', '.join(others)})"
        )


def _patients(one: str, two: str, centers: Mapping[str, Images]) -> dict[str, Any]:
    ids = [list(centers[name].patients.values()) for name in (one, two)]
    shared, told = shared_patients(two, ids[1], one, ids[0])
    example = {"example": shared[0]} if shared else {}
    return {"centers": [one, two], "images_in_both": 0, **told, **example}


def warnings_of(leaks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to warn of: centres with the same patient ids."""
    return [
        f"centres {' and '.join(pair['centers'])} share "
        f"{counted(pair['shared_patient_ids'], 'patient id')} (such as {pair.get('example', '')}); "
        "if they are the same people, the federated and pooled models are tested on patients they "
        "have learned from"
        for pair in leaks
        if pair["shared_patient_ids"]
    ]


def sentences(leaks: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """What federated.md says of leaks between centres; None: nobody has looked for them."""
    if leaks is None:
        return [NOT_LOOKED_FOR]
    said = ["No image of one centre was found at another, as the same file or as a copy."]
    said += [f"Warning: {text}." for text in warnings_of(leaks)]
    unknown = [pair for pair in leaks if pair["shared_patient_ids"] is None]
    said += [
        f"Whether {' and '.join(pair['centers'])} have patients in common is not known: "
        f"{pair.get('reason', '')}."
        for pair in unknown
    ]
    if len(said) == 1:
        said[0] = f"{said[0][:-1]}, and no patient id of one centre at another."
    return said
