"""The processes: application, embedded schema, server, workers. The only package that assembles all parts."""
