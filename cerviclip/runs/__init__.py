"""Runs and sweeps: from flags to results.json, tables and figures."""
