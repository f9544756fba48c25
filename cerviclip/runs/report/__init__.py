"""Tables, curves and comparisons, read from the results.json files of finished runs."""
