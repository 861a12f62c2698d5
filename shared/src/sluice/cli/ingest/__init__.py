"""`sluice ingest`: a folder offered as a bulk producer offers it."""
