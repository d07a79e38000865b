"""The index of a store: TinyDB's documents and queries in one SQLite file, safe between processes, threads and forks.

`records` has the interface and the queries, `database` the connection, `schema` the tables, `location` the place of the
file.
"""
