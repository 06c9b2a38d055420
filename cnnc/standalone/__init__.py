"""Output that stands alone: objects, libraries, C source, projects."""
