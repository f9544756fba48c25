"""Names of the backbones, and where their weights come from. Needs no torch."""
