"""What classifies features: class vectors, probes, prototypes, and what chooses their settings."""
