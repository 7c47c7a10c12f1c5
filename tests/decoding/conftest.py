"""Fixtures of the decode room: one model of each kind of attention, and what a fresh forward says."""

from __future__ import annotations

import asyncio
import copy
import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from gemma_structured.decoding.cache_usage import MemoryUsage
    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.loop import DecodeLoop
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.testing.tiny_shapes import Architecture

from gemma_structured.decoding.sampler import Sampler
from gemma_structured.decoding.sequence import TokenSequence
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.models.local import LocalModel
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.tiny_models import _randomize
from gemma_structured.testing.tiny_shapes import SLIDING_WINDOW
from gemma_structured.testing.tiny_shapes import Architecture as _Architecture
from gemma_structured.types import SamplingParams

KINDS = ("sliding_attention", "full_attention")
LAW_MODELS = (*get_args(_Architecture), "mixtral_sliding", "gemma4_eager")
"""Every architecture, and two that differ in how attention is masked."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `law_model_name` on every model."""
    if "law_model_name" in metafunc.fixturenames:
        metafunc.parametrize("law_model_name", LAW_MODELS)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_for_law(
    tiny_model: Callable[[Architecture], LoadedModel],
) -> Callable[[str], PreTrainedModel]:
    """Gives a model by its name in `LAW_MODELS`."""

    @cache
    def get(name: str) -> PreTrainedModel:
        architecture, _, variant = name.partition("_")
        if variant not in ("sliding", "eager"):
            return tiny_model(name).model  # type: ignore[arg-type]
        model = copy.deepcopy(tiny_model(architecture).model)  # type: ignore[arg-type]
        if variant == "sliding":
            model.config.sliding_window = SLIDING_WINDOW
        else:
            model.set_attn_implementation("eager")
        return model

    return get


@pytest.fixture
def law_model(
    law_model_name: str, model_for_law: Callable[[str], PreTrainedModel]
) -> PreTrainedModel:
    """Each model in turn."""
    return model_for_law(law_model_name)


@pytest.fixture
def local(tiny_model: Callable[[Any], LoadedModel]) -> Callable[..., LocalModel]:
    """Makes a model over a tiny one."""

    def make(architecture: str = "gemma4", **options: Any) -> LocalModel:
        loaded = tiny_model(architecture)
        return LocalModel.from_transformers(loaded.model, loaded.tokenizer, **options)

    return make


@pytest.fixture
def watch_kv_cache() -> Callable[[LocalModel], list[MemoryUsage]]:
    """Lists what a model's KV cache holds before and after each forward from now on."""

    def watch(model: LocalModel) -> list[MemoryUsage]:
        seen: list[MemoryUsage] = []
        session = model.runtime().session
        forward = session.forward

        def note(*args: Any, **options: Any) -> Any:
            seen.append(model.cache_usage.kv_cache)
            result = forward(*args, **options)
            seen.append(model.cache_usage.kv_cache)
            return result

        session.forward = note  # type: ignore[method-assign]
        return seen

    return watch


@pytest.fixture(scope="session")
def until_idle() -> Callable[[LocalModel], None]:
    """Waits, for at most five seconds, until no row is open and the worker has ended.

    No memory is held then.
    """

    def wait(model: LocalModel) -> None:
        runtime = model.runtime()
        end = time.monotonic() + 5
        while (
            runtime.session.open_rows
            or model.cache_usage.kv_cache.entries
            or runtime.engine._worker is not None
        ):
            assert time.monotonic() < end, "rows are still open"
            time.sleep(0.002)
        assert model.cache_usage.kv_cache.nbytes == 0

    return wait


@pytest.fixture(scope="session")
def cancel_when() -> Callable[[Callable[[], bool], Coroutine[Any, Any, object]], None]:
    """Runs an asynchronous call as a task, and cancels it once something is so."""

    def run(begun: Callable[[], bool], call: Coroutine[Any, Any, object]) -> None:
        async def cancel() -> None:
            task = asyncio.create_task(call)
            while not begun():  # noqa: ASYNC110 (there is no event for it)
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancel())

    return run


@pytest.fixture(scope="session")
def assistant_for() -> Callable[..., PreTrainedModel]:
    """Makes a tiny Gemma 4 assistant with random weights for a tiny Gemma 4; settings may differ."""

    def make(target: PreTrainedModel, **settings: Any) -> PreTrainedModel:
        import transformers

        from gemma_structured.decoding.mtp_patch import buildable_assistants

        other = target.config
        sliding, full = (other.per_layer_config[other.layer_types.index(k)] for k in KINDS)
        text = {
            "vocab_size": other.vocab_size,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "layer_types": [KINDS[0], KINDS[0], KINDS[0], KINDS[1]],
            "num_attention_heads": 4,
            "num_key_value_heads": sliding.num_key_value_heads,
            "head_dim": sliding.head_dim,
            "num_global_key_value_heads": full.num_key_value_heads,
            "global_head_dim": full.head_dim,
            "attention_k_eq_v": True,
            "sliding_window": other.sliding_window,
            "max_position_embeddings": other.max_position_embeddings,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
        }
        config = transformers.Gemma4AssistantConfig(
            text_config=transformers.Gemma4TextConfig(**(text | settings)),
            backbone_hidden_size=settings.get("backbone_hidden_size", other.hidden_size),
        )
        with torch.random.fork_rng(devices=[]), buildable_assistants():
            model = transformers.Gemma4AssistantForCausalLM(config)
        _randomize(model, seed=1)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def fresh_logits() -> Callable[[PreTrainedModel, Sequence[int]], Tensor]:
    """Gives `[tokens, vocab]`: what transformers says of some tokens without any cache."""

    @lru_cache(maxsize=64)
    def compute(model: PreTrainedModel, token_ids: tuple[int, ...]) -> Tensor:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([token_ids]), use_cache=False).logits
        return logits[0].float()

    def get(model: PreTrainedModel, token_ids: Sequence[int]) -> Tensor:
        return compute(model, tuple(token_ids))

    return get


@pytest.fixture(scope="session")
def random_ids() -> Callable[[PreTrainedModel, int, int], list[int]]:
    """Gives so many random token ids of a model's vocabulary."""

    def get(model: PreTrainedModel, count: int, seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        vocab_size = model.config.get_text_config(decoder=True).vocab_size
        return torch.randint(vocab_size, (count,), generator=generator).tolist()

    return get


@pytest.fixture(scope="session")
def decode_together() -> Callable[..., list[str]]:
    """Decodes sequences on a loop to their end, and gives their texts."""

    def run(loop: DecodeLoop, *sequences: TokenSequence) -> list[str]:
        for sequence in sequences:
            loop.start(sequence)
        while running := [s for s in sequences if not s.finished]:
            loop.step(running)
        for sequence in sequences:
            loop.end(sequence)
            if sequence.error is not None:
                raise sequence.error
        return [sequence.text for sequence in sequences]

    return run


@pytest.fixture(scope="session")
def bytes_vocabulary() -> Vocabulary:
    """A vocabulary of 256 bytes and five control tokens."""
    return ByteTokenizer().vocabulary()


@pytest.fixture(scope="session")
def sequence_for(bytes_vocabulary: Vocabulary) -> Callable[..., TokenSequence]:
    """Makes a sequence that answers to a grammar of choices, a regex or an output type."""
    compiler = GrammarCompiler(bytes_vocabulary)

    def make(
        grammar: Grammar | object,
        prompt: str | Sequence[int] = "prompt",
        *,
        sampling: SamplingParams | None = None,
        max_tokens: int = 200,
        **options: Any,
    ) -> TokenSequence:
        if not isinstance(grammar, Grammar):
            output_type = OutputType.of(grammar)  # type: ignore[var-annotated]
            grammar, _ = Grammar.for_output_type(output_type, DEFAULT_BOUNDS)
        ids = bytes_vocabulary.encode(prompt) if isinstance(prompt, str) else prompt
        return TokenSequence(
            ids,
            compiler.compile(grammar).matcher(),
            bytes_vocabulary,
            Sampler(sampling or SamplingParams()),
            max_tokens=max_tokens,
            **options,
        )

    return make
