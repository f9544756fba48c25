"""Settings of many methods, chosen with the same budget from the runs of one sweep."""
