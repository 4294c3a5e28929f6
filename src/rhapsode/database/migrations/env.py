"""Alembic's entry: `rhapsode.database.migrate` hands over an open connection."""

from alembic import context

from rhapsode.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
