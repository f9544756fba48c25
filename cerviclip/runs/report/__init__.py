"""Tables and figures, read from the results.json files of finished runs."""
