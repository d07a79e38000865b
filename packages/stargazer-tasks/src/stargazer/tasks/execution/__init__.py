"""What happens around every task body: locks, slots, memo, workspace, provenance."""
