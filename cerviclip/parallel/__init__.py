"""One run in several processes: who loads which images, and what they must agree on."""
