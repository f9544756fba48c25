"""A run as a folder that is read without its trainer, data or weights file."""
