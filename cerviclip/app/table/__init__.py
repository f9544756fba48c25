"""Answers as tables: the columns, the CSV that can be resumed, and predictions by patient."""
