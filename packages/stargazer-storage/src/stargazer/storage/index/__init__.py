"""The index of a store: TinyDB's interface over one SQLite file."""
