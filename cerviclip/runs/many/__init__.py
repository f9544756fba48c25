"""Reading very many runs: what tables need of each, kept in an index that their files rebuild."""
