"""Pictures that are a part of a file: a tile of a whole slide, a frame of a DICOM file."""
