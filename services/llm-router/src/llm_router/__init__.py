"""Answers from passages, by the first language model that works."""
