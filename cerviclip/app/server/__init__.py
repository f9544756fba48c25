"""A trained run behind HTTP: ``cerviclip serve``. Research use only."""
