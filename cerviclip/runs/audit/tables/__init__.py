"""The tables of a folder of runs: summary.json, summary.csv, pooled.json and results.md."""
