"""Tests of the algorithms for a layer."""
