"""The ledger of a store: its provenance documents, and what follows from them for records, trust and the memo."""
