"""Few-shot adaptation of vision-language models for cervical imaging, on Dassl's API.

``import cerviclip`` loads neither torch nor a trainer; the names below load what they need when
they are used.
"""

from __future__ import annotations

from cerviclip.places import make_rooms_importable
from dassl._version import __version__ as __version__

make_rooms_importable()
