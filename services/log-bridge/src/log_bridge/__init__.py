"""Searches production logs through an MCP child process."""
