"""Alembic's entry: migrates on the connection, and in the transaction, that it is given."""

from alembic import context

from service.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
