"""From text to a graph with its weights: the only room that reads the language."""

from cnnc.frontend.load import Choices, LoadedNet, load, load_text
from cnnc.frontend.state import Limits
from cnnc.frontend.vectors import CheckVectors

__all__ = ["CheckVectors", "Choices", "Limits", "LoadedNet", "load", "load_text"]
