"""Imaging data sets: splits by patient, shots, external centres, regions of interest, phantoms."""
