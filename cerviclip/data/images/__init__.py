"""Images: kept decoded, looked at before training, seen again in the same random views."""
