"""Statistics of paired comparisons: quantities, intervals and tests of differences, ranks."""
