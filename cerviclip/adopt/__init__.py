"""Published repositories as baselines: an adopted trainer, unmodified, in a process of its own."""
