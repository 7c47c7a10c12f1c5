"""Grammars and the masks they put on the next token.

`spec` says what a grammar is, `vocabulary` what a tokenizer's ids stand for, `backend` what a
library must be able to do; `llguidance` (the default) and `outlines_core` do it, and `compiler`
keeps what was compiled.
"""

from __future__ import annotations

from gemma_structured.grammar.backend import CompiledGrammar, GrammarBackend, GrammarMatcher
from gemma_structured.grammar.spec import Grammar, GrammarKind

__all__ = ["CompiledGrammar", "Grammar", "GrammarBackend", "GrammarKind", "GrammarMatcher"]
