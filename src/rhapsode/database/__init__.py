"""All queries, on SQLite and PostgreSQL alike."""
