"""Runs as jobs: what each is asked, what came of it, and the processes that make them."""
