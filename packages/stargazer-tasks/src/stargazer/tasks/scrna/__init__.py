"""Single cells: from counts to clusters and marker genes, with scanpy."""
