"""The frontend: text, names, graphs, weights."""
