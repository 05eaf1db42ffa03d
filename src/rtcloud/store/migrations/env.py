"""Run by Alembic with the connection that ``store.migrating`` hands over."""

from alembic import context

from rtcloud.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by copying its table
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
