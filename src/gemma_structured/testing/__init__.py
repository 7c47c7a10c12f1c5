"""For tests of what is built on this package: a model and a server that answer from a script.

For grammar backends there is a conformance suite in `grammar_conformance`.
"""

from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.openrouter_server import FakeOpenRouter
from gemma_structured.testing.scripted import ScriptedModel

__all__ = ["ByteTokenizer", "FakeOpenRouter", "ScriptedModel"]
