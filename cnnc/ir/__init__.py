"""The graph: typed, frozen nodes; what passes read and write."""
