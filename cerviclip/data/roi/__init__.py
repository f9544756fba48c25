"""The region of interest of the tissue: its sources, its transforms, its store."""
