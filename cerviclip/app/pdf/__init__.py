"""``write_pdf``: answers as a PDF for the desk, with what stands behind the model.

Needs ``pip install "cerviclip[app]"``. Research use only: every page says so.
"""

from cerviclip.app.pdf.report import write_pdf

__all__ = ["write_pdf"]
