"""Checks a folder of finished runs from its files alone; ``tools/audit.py`` is its command."""
