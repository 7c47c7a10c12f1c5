"""For tests of what is built on this package: a model that answers from a script."""

from gemma_structured.testing.scripted import ScriptedModel

__all__ = ["ScriptedModel"]
