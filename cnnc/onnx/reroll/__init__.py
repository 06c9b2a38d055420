"""Flat nets as text that a person can read: joins, blocks and repetitions found again."""
