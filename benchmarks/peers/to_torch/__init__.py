"""A network's graph, as built, as a PyTorch module."""
