"""The catalogue of a SQL database → types, operations by key, lists, and links along its foreign keys."""

from gateway.develop.importing.database.configuration import import_database as import_database
