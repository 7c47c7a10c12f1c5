"""What the package shows is what it means to show."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import gemma_structured as gs

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(gs.__path__, prefix="gemma_structured.")
)


def test_the_root_shows_its_public_names_and_no_others() -> None:
    """`__all__` is sorted, every name in it is there, and `dir` shows just these."""
    assert len(set(gs.__all__)) == len(gs.__all__)
    assert dir(gs) == sorted(gs.__all__)
    for name in gs.__all__:
        assert getattr(gs, name) is not None
        assert not isinstance(getattr(gs, name), ModuleType)


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING are the lazy ones, from the same homes."""
    tree = ast.parse(Path(str(gs.__file__)).read_text())
    seen = {
        alias.name: node.module
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: f"gemma_structured.{home}" for name, home in gs._HOME_OF.items()}
    assert seen == homes
    assert {*homes, "__version__"} == set(gs.__all__)


def test_public_names_have_a_docstring() -> None:
    """Every public class and function says what it is."""
    for name in gs.__all__:
        value = getattr(gs, name)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module, and private names do not leak either."""
    for name in ("NoSuchName", "_HOMES_", "torch", "json"):
        with pytest.raises(AttributeError, match=name):
            getattr(gs, name)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_what_it_names(name: str) -> None:
    """A module's `__all__` has no name twice, no private one, and none that is missing."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    for public in names:
        assert not public.startswith("_") or public == "__version__"
        assert hasattr(module, public)
