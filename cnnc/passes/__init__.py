"""The optimisations: one function, one file each."""
