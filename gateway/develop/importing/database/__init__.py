"""Import the tables of a SQL database: types, operations by key, list operations, and links along foreign keys."""
