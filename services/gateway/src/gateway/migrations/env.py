"""Alembic's entry: it runs on the connection, and in the transaction, that it is handed."""

from alembic import context

from gateway.models import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
