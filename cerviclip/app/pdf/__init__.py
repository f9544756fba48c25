"""``write_pdf``: answers as a PDF, with pages on the model and its test figures.

Needs ``pip install -e ".[app]"``. Research use only: every page says so.
"""

from cerviclip.app.pdf.report import write_pdf

__all__ = ["write_pdf"]
