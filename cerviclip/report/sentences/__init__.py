"""Sentences of the draft on one matter each, and the words that they take."""
