"""Runs as jobs: the request and outcome of each, and the local processes that make them."""
