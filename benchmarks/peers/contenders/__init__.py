"""Who takes part: one module each, with a function `load`. A module is imported where it runs."""
