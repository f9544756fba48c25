"""Statistics of paired comparisons: which quantities, how sure their difference is, ranks."""
