"""The process of an adopted trainer: what it imports and runs."""
