"""The HTTP API: identity, chat, knowledge and logs."""
