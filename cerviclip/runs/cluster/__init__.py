"""A sweep's runs as jobs of Slurm, or as processes that are started and watched in the same way."""
