"""Features of frozen backbones: the store on disk, the encoder and the loaders."""
