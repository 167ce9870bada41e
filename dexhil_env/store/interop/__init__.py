"""Datasets of others: read by a column map, and ours written in older layouts and with others' labels."""
