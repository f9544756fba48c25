"""What PDF files and figures are drawn with."""
