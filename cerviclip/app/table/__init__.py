"""Answers as tables: the columns, the CSV that resumes, and verdicts by patient."""
