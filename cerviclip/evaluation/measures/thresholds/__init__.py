"""Measures at a threshold: operating points, likelihood ratios, net benefit."""
