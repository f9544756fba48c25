"""The API's routes, a file for each protocol."""
