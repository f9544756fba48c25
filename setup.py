"""What pyproject.toml cannot say: the top-level folders are sub-packages of ``cerviclip``.

``trainers/``, ``datasets/``, ``configs/`` and ``tools/`` stay at the top of the checkout. Installed
under their own names they would shadow other projects' (Hugging Face's ``datasets`` for one).
"""

from setuptools import find_namespace_packages, find_packages, setup

ROOMS = ("trainers", "datasets", "configs", "tools")

inner = [
    f"cerviclip.{name}"
    for room in ROOMS
    for name in (room, *(f"{room}.{sub}" for sub in find_namespace_packages(room)))
]
setup(
    packages=[*find_packages(include=["dassl*", "cerviclip*"]), *inner],
    package_dir={f"cerviclip.{room}": room for room in ROOMS},
)
