"""Load: files → source → decode → rules → Blueprint. All problems of all files are found before any is reported."""
