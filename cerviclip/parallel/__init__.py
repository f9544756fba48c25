"""One run in several processes: which process loads which images, and what must be equal."""
