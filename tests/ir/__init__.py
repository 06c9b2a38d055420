"""Tests of the graph; random graphs for all."""
