"""`LocalModel`: a model on this machine, masked token by token."""

from __future__ import annotations

import threading
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from gemma_structured.decoding.cache_usage import CacheUsage
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.own_thread import in_own_thread
from gemma_structured.decoding.runtime_options import RuntimeOptions
from gemma_structured.exceptions import InputError, LoadError
from gemma_structured.models.base import Model
from gemma_structured.models.local_responder import LocalResponder
from gemma_structured.telemetry import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from gemma_structured.decoding.load_options import DeviceMap, ExpertsImplementation, Precision
    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.driver import Task
    from gemma_structured.grammar.backend import GrammarBackend
    from gemma_structured.grammar.compiler import BackendName

__all__ = ["EMBEDDED", "LocalModel"]

T = TypeVar("T")

EMBEDDED = "embedded"
"""The packaged Gemma 3 270M, a base model; it comes with the extra `embedded`."""


class LocalModel(Model):
    """A causal language model of transformers.

    Constructing it loads nothing: the first use does, or `load`. Requests of all threads and tasks
    are decoded together.

    Args:
        source: `"embedded"`, a folder, or a hub id such as `"google/gemma-4-26B-A4B-it"`.
        device: `"auto"`, or a name that PyTorch knows.
        precision: `"float32"`, `"bfloat16"`, `"float16"`, `"int8"`, or `"auto"` for the faster
            of the first two on this machine; see `LoadOptions`.
        device_map: Where accelerate puts the layers, over several devices; replaces `device`.
        quantization_config: Passed on to transformers.
        revision: Branch, tag or commit on the hub.
        token: For gated or private repositories on the hub.
        local_files_only: Ask no server.
        trust_remote_code: Run the code that comes with a checkpoint.
        attn_implementation: `"sdpa"` or `"eager"`.
        experts_implementation: How a mixture of experts is computed.
        model_kwargs: Further arguments of `from_pretrained`.
        grammar_backend: `"llguidance"`, `"outlines_core"`, or a backend of one's own, such as an
            `LLGuidanceBackend` with other limits.
        max_batch_size: The most requests that are decoded together.
        max_waiting: The most requests that wait beyond that before `ModelBusyError`; `None` for
            no limit.
        kv_cache_bytes: The most memory for the KV caches of running requests together.
        prefix_cache_bytes: The most memory for the KV caches of prompts' fixed parts, and of the
            earlier turns of conversations; 0 keeps none.
        grammar_cache_size: The most compiled grammars that are kept, one an output type; the least
            recently used go first.
        drafts: Whether to guess the next tokens from the document and the answer so far, and verify
            them in one forward: `"auto"` does where that pays. The outputs are the same.
        draft_model: A folder or hub id of the target's own draft model, which guesses where there
            is nothing to copy: for a Gemma 4 its `…-assistant` checkpoint. It is loaded onto the
            same device. The outputs are the same.
        prefill_chunk: The most prompt tokens that one forward reads.
        compile: Compile the layers by `torch.compile`: the first forwards take a minute, the later
            ones less than before. It needs a C++ compiler, on a GPU Triton, and is not for
            `precision="int8"`. The model runs here alone then, also one that was given.

    Raises:
        InputError: An option is out of its range.
    """

    def __init__(
        self,
        source: str | Path = EMBEDDED,
        *,
        device: str = "auto",
        precision: Precision | None = None,
        device_map: DeviceMap | None = None,
        quantization_config: object = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        attn_implementation: str | None = None,
        experts_implementation: ExpertsImplementation = "auto",
        model_kwargs: Mapping[str, object] | None = None,
        grammar_backend: BackendName | GrammarBackend = "llguidance",
        max_batch_size: int = 8,
        max_waiting: int | None = None,
        kv_cache_bytes: int = 4 * 2**30,
        prefix_cache_bytes: int = 2**30,
        grammar_cache_size: int = 256,
        drafts: Literal["auto", "on", "off"] = "auto",
        draft_model: str | Path | None = None,
        prefill_chunk: int = 512,
        compile: bool = False,  # noqa: A002 - as in PyTorch and transformers
    ) -> None:
        if not str(source):
            raise InputError("source is empty: give a folder or a hub id.")
        if draft_model is not None and drafts == "off":
            raise InputError("A draft_model is given, and drafts are off: choose one.")
        if compile and precision == "int8":
            raise InputError('Layers in precision="int8" cannot be compiled: choose one.')
        options = LoadOptions(
            device=device,
            precision=precision,
            device_map=device_map,
            quantization_config=quantization_config,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            trust_remote_code=trust_remote_code,
            attn_implementation=attn_implementation,
            experts_implementation=experts_implementation,
            model_kwargs=model_kwargs or {},
        )
        self._name = str(source)
        self._load: Callable[[], LoadedModel] = lambda: _load(source, draft_model, options)
        self._runtime_options = RuntimeOptions(
            grammar_backend=grammar_backend,
            max_batch_size=max_batch_size,
            max_waiting=max_waiting,
            kv_cache_bytes=kv_cache_bytes,
            prefix_cache_bytes=prefix_cache_bytes,
            grammar_cache_size=grammar_cache_size,
            drafts=drafts,
            prefill_chunk=prefill_chunk,
            compile=compile,
        )
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_transformers(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        draft_model: str | Path | PreTrainedModel | None = None,
        **options: Any,
    ) -> Self:
        """Use a model and a tokenizer that are loaded already.

        Args:
            model: A causal language model, put into evaluation mode.
            tokenizer: Its tokenizer, a fast one.
            name: What to call it in results.
            draft_model: Its draft model, loaded or to be loaded.
            **options: Those of the constructor that are not about loading, such as
                `max_batch_size`.

        Raises:
            LoadError: They are not what they must be, or do not fit each other.
        """
        from gemma_structured.decoding.loaded_model import from_transformers  # noqa: PLC0415

        loaded = from_transformers(model, tokenizer, name=name)
        made = cls(loaded.name, **options)
        made._load = lambda: _with_draft_model(loaded, draft_model, LoadOptions())
        return made

    @property
    def name(self) -> str:
        """The source that it was made from."""
        return self._name

    def __repr__(self) -> str:
        return f"LocalModel({self._name!r})"

    def load(self) -> Self:
        """Load it now, if it is not loaded yet.

        Raises:
            LoadError: A missing extra, weights, files or memory; it says what to do.
        """
        self.runtime()
        return self

    def runtime(self) -> Runtime:
        """The loaded model with its engine and caches; for those who look inside."""
        with self._lock:
            if self._runtime is None:
                try:
                    from gemma_structured.decoding.runtime import start  # noqa: PLC0415
                except ImportError as error:
                    raise LoadError(
                        f"A local model needs {error.name}, which is not installed.",
                        hint="Run: pip install 'gemma-structured[local]'",
                        model_name=self._name,
                    ) from error
                self._runtime = in_own_thread(lambda: start(self._load(), self._runtime_options))
            return self._runtime

    def unload(self) -> None:
        """Cancel what runs and free the model's memory; the next use loads it again."""
        with self._lock:
            runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.engine.shutdown()

    @property
    def cache_usage(self) -> CacheUsage:
        """What its caches hold now, and the most that they may hold; it loads nothing.

        It may be read from any thread, while requests run and while the model is being loaded.
        """
        runtime = self._runtime
        if runtime is None:
            return CacheUsage.of_nothing(self._runtime_options)
        return runtime.cache_usage

    @property
    def origin(self) -> Origin:
        """This process, for spans and metrics."""
        return Origin(provider="transformers")

    def bind(self, task: Task[T]) -> LocalResponder:
        """Prepare for a task.

        Raises:
            SchemaError: Nothing can satisfy the output type.
            GrammarError: A term is empty.
        """
        return LocalResponder(self, task, self._runtime_options.max_batch_size)


def _load(source: str | Path, draft_model: str | Path | None, options: LoadOptions) -> LoadedModel:
    if source == EMBEDDED:
        from gemma_structured.decoding.embedded import load_embedded  # noqa: PLC0415

        return _with_draft_model(load_embedded(options), draft_model, options)
    from gemma_structured.decoding.loader import load_model  # noqa: PLC0415

    return _with_draft_model(load_model(source, options), draft_model, options)


def _with_draft_model(
    loaded: LoadedModel, draft_model: str | Path | PreTrainedModel | None, options: LoadOptions
) -> LoadedModel:
    if draft_model is None:
        return loaded
    if isinstance(draft_model, (str, PathLike)):
        from gemma_structured.decoding.draft_loader import load_draft_model  # noqa: PLC0415

        draft_model = load_draft_model(draft_model, loaded, options)
    return replace(loaded, draft_model=draft_model)
