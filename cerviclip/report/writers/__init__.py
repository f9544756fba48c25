"""The report in its formats: Markdown, Word, PDF. Each has `write(document, path)`."""
