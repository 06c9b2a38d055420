"""Files that are wrong, and how that is said."""
