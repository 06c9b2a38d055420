"""Measuring what algorithms offer for the layers of a net."""
