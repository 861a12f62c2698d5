"""Finds the passages that a question's asker may read."""
