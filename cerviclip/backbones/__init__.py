"""Which backbones there are, by name, and where their weights are to be had. Needs no torch."""
