"""For tests of what is built on this package: a model and a server that answer from a script."""

from gemma_structured.testing.openrouter_server import FakeOpenRouter
from gemma_structured.testing.scripted import ScriptedModel

__all__ = ["FakeOpenRouter", "ScriptedModel"]
