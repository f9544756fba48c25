"""Reading very many runs: an index of what tables need, which can be rebuilt from the files."""
