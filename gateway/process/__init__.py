"""The processes: application, embedded schema, listeners, server, workers. The only room that puts all parts together."""
