"""Images: a cache of decoded ones, checks before training, and repeatable random views."""
