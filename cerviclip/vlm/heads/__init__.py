"""Classifiers of features: class vectors, probes, prototypes, and the choice of their settings."""
