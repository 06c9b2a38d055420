"""The version of cnnc, in a file that build tools can read."""

__version__ = "0.1.0"
