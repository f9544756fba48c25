"""A sweep's runs as jobs of Slurm, or as local processes that are managed in the same way."""
