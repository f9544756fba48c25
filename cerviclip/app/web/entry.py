"""The script that Streamlit runs for each visit and key press; its argument is `WebSettings`."""

import sys

from cerviclip.app.web.frame import show
from cerviclip.app.web.settings import WebSettings

show(WebSettings.from_json(sys.argv[1]))
