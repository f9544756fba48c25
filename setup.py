"""What pyproject.toml cannot say: the top-level folders are sub-packages of ``cerviclip``.

``trainers/``, ``datasets/``, ``configs/`` and ``tools/`` stay at the top of the checkout. Installed
under their own names they would shadow other projects' (Hugging Face's ``datasets`` for one).
"""

from setuptools import find_namespace_packages, setup

ROOMS = ("trainers", "datasets", "configs", "tools")
CACHES = ["__pycache__", "*.__pycache__"]  # a checkout that was used has them everywhere

inner = [
    f"cerviclip.{name}"
    for room in ROOMS
    for name in (room, *(f"{room}.{s}" for s in find_namespace_packages(room, exclude=CACHES)))
]
setup(
    packages=[
        *find_namespace_packages(include=["dassl*", "cerviclip*"], exclude=CACHES),
        *inner,
    ],
    package_dir={f"cerviclip.{room}": room for room in ROOMS},
)
