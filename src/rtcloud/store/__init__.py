"""Durable state: tables, migrations, the database's one writer, object storage; each with an in-memory twin."""
