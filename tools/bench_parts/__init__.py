"""The parts of tools/bench.py: one module for each group of figures."""
