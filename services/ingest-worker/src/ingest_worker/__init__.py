"""Reads documents, cuts them into chunks and writes them to the index."""
