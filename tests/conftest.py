"""Fixtures that several rooms share: the embedded model, and tiny models of each architecture."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.models.local import LocalModel
    from gemma_structured.testing.tiny_shapes import Architecture

EMBEDDED_FIXTURES = {"embedded_model", "embedded_checkpoint", "shared_embedded"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the packaged model, so that `-m 'not embedded'` leaves it out."""
    for item in items:
        if EMBEDDED_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.embedded)


@pytest.fixture(scope="session")
def embedded_checkpoint() -> Path:
    """The folder of the embedded model in the user's cache, converted if need be."""
    from gemma_structured.decoding.embedded import embedded_folder

    return embedded_folder(progress=False)


@pytest.fixture(scope="session")
def embedded_model(embedded_checkpoint: Path) -> LoadedModel:
    """The embedded model in float32: once a session, its weights mapped from the file."""
    from gemma_structured.decoding.embedded import load_embedded
    from gemma_structured.decoding.load_options import LoadOptions

    return load_embedded(LoadOptions(device="cpu", precision="float32"), progress=False)


@pytest.fixture(scope="session")
def local_model(embedded_model: LoadedModel) -> LocalModel:
    """The embedded model as users hold it: once a session."""
    from gemma_structured.models.local import LocalModel

    model = LocalModel("embedded")
    model._load = lambda: embedded_model
    return model.load()


@pytest.fixture
def shared_embedded(local_model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every `gs.LocalModel("embedded")` of an example the session's one."""
    import gemma_structured
    from gemma_structured.models.local import LocalModel

    class SharedLocalModel(LocalModel):
        def __init__(self, source: str = "embedded", **options: object) -> None:
            super().__init__(source, **options)  # type: ignore[arg-type]
            if source == "embedded" and not options:
                self._runtime = local_model.runtime()

    monkeypatch.setattr(gemma_structured, "LocalModel", SharedLocalModel)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[[Architecture], LoadedModel]:
    """Gives the tiny model of an architecture, over bytes: one a session."""
    from gemma_structured.decoding.loaded_model import from_transformers
    from gemma_structured.testing import tiny_models

    @cache
    def get(architecture: Architecture) -> LoadedModel:
        model, tokenizer = tiny_models.build(architecture)
        return from_transformers(model, tokenizer, name=f"tiny/{architecture}")

    return get


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Architecture], Path]:
    """Gives the checkpoint folder of an architecture's tiny model: read it, do not change it."""
    from gemma_structured.testing import tiny_models

    @cache
    def get(architecture: Architecture) -> Path:
        return tiny_models.save(architecture, tmp_path_factory.mktemp(architecture))

    return get
