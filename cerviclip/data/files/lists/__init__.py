"""Reading lists of images: tables (CSV and the like), JSON, few-shot pickles.

Every form becomes `entries.Entries`. What a file does not say is empty, what is in it and not used
is told in ``notes``.
"""
