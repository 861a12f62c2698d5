"""The page: chat, documents, corrections and log search."""
