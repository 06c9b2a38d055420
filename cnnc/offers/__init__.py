"""Algorithms for a layer: one file each, with the forms it may take and what they cost."""
