"""`sluice backup` and `sluice restore`: rows, blobs and data keys as of one moment, in a folder of plain files."""
