"""One module for each page; each has ``show(page)``."""
