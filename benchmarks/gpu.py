"""A decode step on a GPU: a Gemma 4 26B A4B with random weights, with and without a grammar.

    python benchmarks/gpu.py                        # needs a CUDA device with some 60 GB
    python benchmarks/gpu.py --compile              # its layers compiled by torch.compile
    python benchmarks/gpu.py --tiny --device cpu    # a small model of the same kind: does it run?

The model has the real configuration and is built on the device in bfloat16. Random weights cost what
trained ones cost, but for one thing: how many different experts a batch hits depends on the text.
The limit that a step is held against is the time to read the weights it needs (every expert once that
is expected to be hit) and the KV cache, at the bandwidth that a copy reaches on the same device.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import transformers
from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

import gemma_structured as gs
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.sampler import Sampler
from gemma_structured.decoding.selection import BatchSelection
from gemma_structured.decoding.sequence import TokenSequence
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing import tiny_models
from gemma_structured.testing.tiny_tokenizers import build_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.decoding.runtime import Runtime

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 16)
PROMPT = "The printer in room 12 does not print, and the lamp beside it flickers. " * 12
WARM_UP = 10
CONFIG = {
    "num_hidden_layers": 30,
    "hidden_size": 2816,
    "intermediate_size": 2112,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": 2,
    "attention_k_eq_v": True,
    "sliding_window": 1024,
    "enable_moe_block": True,
    "num_experts": 128,
    "top_k_experts": 8,
    "moe_intermediate_size": 704,
    "vocab_size": 262_144,
    "vocab_size_per_layer_input": 262_144,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "final_logit_softcapping": 30.0,
    "max_position_embeddings": 262_144,
    "eos_token_id": [1, 106, 50],
}


class Note(BaseModel):
    """Text, a choice and a truth value."""

    text: str = Field(min_length=80, max_length=160)
    urgency: Literal["low", "normal", "high"]
    done: bool


class Report(BaseModel):
    """Long enough that no row ends while steps are timed."""

    notes: list[Note] = Field(min_length=16, max_length=16)


@dataclass(frozen=True, slots=True)
class Figure:
    """What one lane took at one batch size."""

    lane: str
    batch: int
    step_ms: float | None
    tokens_per_second: float
    share_of_limit: float | None


def build(device: torch.device, *, tiny: bool, compiled: bool = False) -> gs.LocalModel:
    """The model on its device, with random weights."""
    if tiny:
        model, tokenizer = tiny_models.build("gemma4")
        model.to(device)
    else:
        config = transformers.Gemma4TextConfig(**CONFIG)
        with device:
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        tokenizer = build_tokenizer("gemma4", "gemma")
    return gs.LocalModel.from_transformers(
        model.eval(),
        tokenizer,
        name="random gemma4",
        max_batch_size=max(BATCHES),
        drafts="off",
        compile=compiled,
    )


def sequences(runtime: Runtime, batch: int, temperature: float) -> list[TokenSequence]:
    """Requests that answer with a `Report`, each after a prompt of its own."""
    grammar, _ = Grammar.for_output_type(OutputType.of(Report), DEFAULT_BOUNDS)
    compiled = runtime.compiler.compile(grammar)
    return [
        TokenSequence(
            runtime.vocabulary.encode(f"{number} {PROMPT}"),
            compiled.matcher(),
            runtime.vocabulary,
            Sampler(gs.SamplingParams(temperature=temperature, seed=number)),
            max_tokens=5000,
        )
        for number in range(batch)
    ]


def time_grammar(runtime: Runtime, batch: int, steps: int, temperature: float) -> Figure:
    """Steps of the decode loop, choosing on the device."""
    head = runtime.loaded.model.get_output_embeddings()
    selection = BatchSelection(runtime.vocabulary.size, head.weight.device)
    loop = DecodeLoop(runtime.session, PrefixStore(0), selection=selection)
    rows = sequences(runtime, batch, temperature)
    for row in rows:
        loop.start(row)
        while row.reading_prompt:
            loop.step([row])
    for _ in range(WARM_UP):
        loop.step(rows)
    before = sum(len(row.output_ids) for row in rows)
    times = time_steps(partial(loop.step, rows), steps, head.weight.device)
    tokens = sum(len(row.output_ids) for row in rows) - before
    for row in rows:
        if row.finished:
            raise RuntimeError(f"A row ended too soon: {row.finish_reason}, {row.error}")
        loop.end(row)
    limit = limit_ms(runtime, batch, len(rows[0].prompt_ids) + steps)
    name = "grammar, greedy" if temperature == 0 else "grammar, sampled"
    return figure(name, batch, times, tokens, limit)


def time_free(runtime: Runtime, batch: int, steps: int) -> Figure:
    """The same forwards, the likeliest token of each row, and nothing else."""
    session = runtime.session
    prompts = [row.prompt_ids for row in sequences(runtime, batch, 0.0)]
    rows = [session.open() for _ in prompts]
    for row, prompt in zip(rows, prompts, strict=True):
        session.forward({row: prompt})
    tokens = [1] * batch

    def step() -> None:
        logits = session.forward({row: [token] for row, token in zip(rows, tokens, strict=True)})
        tokens[:] = torch.stack([logits[row].full()[0] for row in rows]).argmax(dim=1).tolist()

    for _ in range(WARM_UP):
        step()
    device = runtime.loaded.device
    times = time_steps(step, steps, device)
    for row in rows:
        session.close(row)
    limit = limit_ms(runtime, batch, len(prompts[0]) + steps)
    return figure("no grammar", batch, times, batch * steps, limit)


def time_steps(step: Callable[[], object], steps: int, device: torch.device) -> list[float]:
    """Seconds of each step, the device's work included."""
    times = []
    for _ in range(steps):
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return times


def figure(name: str, batch: int, times: list[float], tokens: int, limit: float) -> Figure:
    """The median step, held against the limit."""
    step = statistics.median(times) * 1000
    return Figure(name, batch, step, tokens / sum(times), limit / step)


def limit_ms(runtime: Runtime, batch: int, context: int) -> float:
    """How long reading the weights and the KV cache of one step takes at least, milliseconds."""
    model = runtime.loaded.model
    config = model.config
    hit = 1 - (1 - config.top_k_experts / config.num_experts) ** batch
    weights = 0.0
    for name, parameter in model.named_parameters():
        weights += parameter.nbytes * (hit if ".experts." in name else 1.0)
    kv_cache = batch * context * runtime.session.bytes_per_token
    return (weights + kv_cache) / bandwidth(runtime.loaded.device) * 1000


_bandwidths: dict[torch.device, float] = {}


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy moves, both ways counted; measured once."""
    if device not in _bandwidths:
        source = torch.ones((1 << 30 if device.type == "cuda" else 1 << 26), device=device)
        target = torch.empty_like(source)
        times = time_steps(lambda: target.copy_(source), 10, device)
        _bandwidths[device] = 2 * source.nbytes / min(times)
    return _bandwidths[device]


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_documents(model: gs.LocalModel, batch: int, tokens: int) -> Figure:
    """Whole requests through the public API, prompts included, cut after some tokens."""
    generator = model.compile(Report, max_tokens=tokens, max_attempts=1)
    prompts = [f"{number} {PROMPT}" for number in range(batch)]
    generator.batch(prompts, errors="return")
    start = time.perf_counter()
    outcomes = generator.batch(prompts, errors="return")
    seconds = time.perf_counter() - start
    written = 0
    for outcome in outcomes:
        if not isinstance(outcome, (gs.IncompleteOutputError, gs.Result)):
            raise outcome
        written += outcome.usage.completion_tokens
    return Figure("documents, ours", batch, None, written / seconds, None)


def time_outlines(model: gs.LocalModel, batch: int, tokens: int) -> Figure:
    """The same documents through outlines on the same model, as one batch."""
    from outlines import Generator, from_transformers

    loaded = model.runtime().loaded
    generator: Any = Generator(
        from_transformers(loaded.model, loaded.tokenizer), Report, "llguidance"
    )
    plan = model.compile(Report, max_tokens=tokens)
    bos = loaded.tokenizer.bos_token or ""
    prompts = [plan.prompt(f"{number} {PROMPT}").removeprefix(bos) for number in range(batch)]
    options = {"max_new_tokens": tokens, "do_sample": False}

    def run() -> list[str]:
        return (
            [generator(prompts[0], **options)]
            if batch == 1
            else generator.batch(prompts, **options)
        )

    run()
    start = time.perf_counter()
    texts = run()
    seconds = time.perf_counter() - start
    written = sum(len(loaded.tokenizer(text, add_special_tokens=False).input_ids) for text in texts)
    return Figure("documents, outlines", batch, None, written / seconds, None)


def measure(model: gs.LocalModel, steps: int, *, outlines: bool) -> list[Figure]:
    """Every lane at every batch size."""
    runtime = model.runtime()
    figures = []
    for batch in BATCHES:
        with torch.inference_mode():
            figures.append(time_free(runtime, batch, steps))
            figures.extend(time_grammar(runtime, batch, steps, t) for t in (0.0, 1.0))
        figures.append(time_documents(model, batch, steps))
        if outlines:
            figures.append(time_outlines(model, batch, steps))
    return figures


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def show(figures: list[Figure], title: str) -> None:
    """Print a table."""
    table = Table(title=title)
    for column in ("lane", "batch", "ms a step", "tokens/s", "share of the limit"):
        table.add_column(column, justify="left" if column == "lane" else "right")
    for each in figures:
        table.add_row(
            each.lane,
            str(each.batch),
            "" if each.step_ms is None else f"{each.step_ms:.2f}",
            f"{each.tokens_per_second:.0f}",
            "" if each.share_of_limit is None else f"{each.share_of_limit:.1%}",
        )
    Console().print(table)


def main() -> None:
    """Measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model of the same kind")
    parser.add_argument("--steps", type=int, default=100, help="timed steps a lane, at most 300")
    parser.add_argument("--no-outlines", action="store_true", help="leave outlines out")
    parser.add_argument(
        "--compile", action="store_true", help="compile the layers; leaves outlines out as well"
    )
    parser.add_argument("--results", type=Path, help="where to record the figures")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("Skipped: there is no CUDA device. Try --tiny --device cpu.")
        return
    model = build(device, tiny=options.tiny, compiled=options.compile)
    outlines = not (options.no_outlines or options.compile)
    figures = measure(model, options.steps, outlines=outlines)
    kind = "compiled" if options.compile else "not compiled"
    show(figures, f"{device_name(device)}, {'tiny' if options.tiny else '26B A4B'}, {kind}")
    folder = options.results or (None if options.tiny else RESULTS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"\W+", "-", device_name(device).lower()).strip("-")
        record = {
            "device": device_name(device),
            "model": "tiny gemma4" if options.tiny else "gemma4 26B A4B, random weights, bfloat16",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "copy_bandwidth_bytes_per_second": round(bandwidth(device)),
            "figures": [asdict(each) for each in figures],
        }
        path = folder / f"gpu-{slug}{'-compiled' if options.compile else ''}.json"
        path.write_text(json.dumps(record, indent=2) + "\n")
        print(f"Recorded in {path}")


if __name__ == "__main__":
    main()
