"""From text to a graph with its weights: the only room that reads the language."""
