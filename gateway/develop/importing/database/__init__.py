"""Import the tables of a SQL database: types, operations by key, list operations, and links along foreign keys."""

from gateway.develop.importing.database.configuration import import_database as import_database
