"""What must work without the extras: run as a script, in a process where they are missing.

With `--block` imports of the extras fail although they are installed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

LOCAL = (
    "torch",
    "transformers",
    "llguidance",
    "numpy",
    "outlines",
    "outlines_core",
    "safetensors",
    "opentelemetry",
)


class Blocker:
    """Makes imports of the extras fail, as where they are not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Refuse the extras."""
        if name.split(".", maxsplit=1)[0] in LOCAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def is_missing(name: str) -> bool:
    """Whether a module cannot be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return True
    return False


def check_names() -> None:
    """Every public name is there, and none of them needs an extra."""
    import gemma_structured as gs

    for name in gs.__all__:
        getattr(gs, name)
    for module in (
        "gemma_structured.testing",
        "gemma_structured.demo",
        "gemma_structured.families",
    ):
        importlib.import_module(module)
    assert not set(LOCAL) & {name.split(".")[0] for name in sys.modules}


def check_local_model() -> None:
    """A local model can be made, and says at its first use what to install."""
    import gemma_structured as gs

    model = gs.LocalModel("embedded")
    for use in (model.load, lambda: model.generate("x", int)):
        try:
            use()
        except gs.LoadError as error:
            told = str(error)
        else:
            told = "nothing"
        assert "pip install 'gemma-structured[local]'" in told, told


def check_generation() -> None:
    """Types, re-asks and streams work on a model that needs nothing."""
    from pydantic import BaseModel

    import gemma_structured as gs
    from gemma_structured.testing import ScriptedModel

    class Person(BaseModel):
        name: str
        age: int

    model = ScriptedModel(['{"name":"Ada","age":"old"}', '{"name":"Ada","age":36}', '"ab"', "no"])
    result = model.generate("Ada is 36.", Person)
    assert result.output == Person(name="Ada", age=36)
    assert len(result.attempts) == 2
    with model.stream("x", str) as stream:
        assert [event.value for event in stream if isinstance(event, gs.Partial)][-1] == "ab"
    assert model.generate("x", gs.Choice(["yes", "no"])).output == "no"


def check_remote() -> None:
    """A remote model works over a real socket, also behind a local one that cannot be loaded."""
    from pydantic import BaseModel

    import gemma_structured as gs
    from gemma_structured.testing.openrouter_server import FakeOpenRouter

    class Person(BaseModel):
        name: str

    with (
        FakeOpenRouter(answer='{"name":"Ada"}') as server,
        gs.OpenRouterModel("a/b", api_key=server.key, base_url=server.base_url) as remote,
    ):
        model = gs.FallbackModel(gs.LocalModel("embedded"), remote)
        result = model.generate("Ada came.", Person)
    assert result.output == Person(name="Ada")
    assert result.model_name == "a/b", result.model_name
    assert isinstance(result.skipped[0], gs.LoadError)


if __name__ == "__main__":
    if "--block" in sys.argv:
        sys.meta_path.insert(0, Blocker)  # type: ignore[arg-type]
    assert all(map(is_missing, LOCAL)), "this environment has the extras: nothing is shown here"
    check_names()
    check_local_model()
    check_generation()
    check_remote()
    print("works without", ", ".join(LOCAL))  # noqa: T201 - what the tests look for
