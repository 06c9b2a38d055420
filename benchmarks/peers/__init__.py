"""The same networks in other runtimes: models for them, contenders, turns and tables."""
