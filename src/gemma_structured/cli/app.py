"""The commands and their options; what they do lives beside this file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_structured._version import __version__
from gemma_structured.cli.demo import demo
from gemma_structured.cli.documents import STDIN, list_sources, read_examples
from gemma_structured.cli.exit_codes import EXIT_CODES_HELP, ExitCode
from gemma_structured.cli.extract import Files, extract
from gemma_structured.cli.list_models import list_models
from gemma_structured.cli.models import MODEL_HELP, Budget, Fallbacks, build_model
from gemma_structured.cli.output_types import from_reference, from_schema_file, from_type
from gemma_structured.cli.reporting import Debug, out, reported
from gemma_structured.cli.show_schema import examine_schema, show_schema
from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from gemma_structured.generator import Generator
    from gemma_structured.schema.output_type import OutputType

__all__ = ["app", "run"]

app = typer.Typer(
    name="gemma-structured",
    help="Typed objects from documents, which cannot be malformed.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def run() -> int:
    """Run the command line; returns its exit code."""
    try:
        code: object = app(standalone_mode=True)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else ExitCode.OK


def _show_version(*, wanted: bool) -> None:
    if wanted:
        out().print(f"gemma-structured {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Typed objects from documents, which cannot be malformed."""


@app.command("extract", epilog=EXIT_CODES_HELP)
@reported
def extract_command(
    *,
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES...", help="Documents; none of them reads standard input."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help=MODEL_HELP, envvar="GEMMA_STRUCTURED_MODEL")
    ],
    fallback: Fallbacks = None,
    budget: Budget = None,
    type_: Annotated[
        str | None, typer.Option("--type", "-t", help="A Python type, as app.models:Invoice.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", "-s", help="A file with a JSON Schema.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON Lines, one a document; else standard output."),
    ] = None,
    errors: Annotated[
        Path | None, typer.Option("--errors", help="JSON Lines, one a document that failed.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the documents that the output holds.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin the output anew.")] = False,
    files_from: Annotated[
        str | None,
        typer.Option("--files-from", help="A file that names documents, one a line; `-` is stdin."),
    ] = None,
    instruction: Annotated[
        str | None, typer.Option("--instruction", help="What to do with each document.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option("--examples", help='JSON Lines of {"input": text, "output": value}.'),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The most tokens of an answer.")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 takes the most likely token.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes sampling reproducible.")] = None,
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Asks before a document has failed.")
    ] = 3,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, help="Seconds that a document may take.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Documents at once; the model's own number."),
    ] = None,
    debug: Debug = False,  # noqa: ARG001 - `reported` reads it
) -> ExitCode:
    """Extract one typed object from each document.

    Objects go to standard output: as a table for people, as JSON Lines into a pipe. With -o they go
    to a file, each as soon as it is there; a run that was killed is gone on with by --resume.
    """
    files = _files(output, errors, resume=resume, overwrite=overwrite)
    output_type = _output_type(type_, schema)
    shots = read_examples(examples, output_type) if examples is not None else ()
    paths = list_sources(documents or [], files_from)

    def load() -> Generator[Any]:
        return build_model(model, fallback or (), budget).compile(
            output_type,
            instruction=instruction,
            examples=shots,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            max_attempts=max_attempts,
            timeout=timeout,
        )

    return extract(load, output_type, paths, files, concurrency=concurrency)


def _files(output: Path | None, errors: Path | None, *, resume: bool, overwrite: bool) -> Files:
    if output is not None and str(output) == STDIN:
        output = None
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other.")
    if resume and output is None:
        raise InputError("--resume needs an output file.", hint="Give -o FILE.")
    if output is not None and errors is not None and output.absolute() == errors.absolute():
        raise InputError("--output and --errors must be different files.")
    return Files(output=output, errors=errors, resume=resume, overwrite=overwrite)


def _output_type(type_: str | None, schema: Path | None) -> OutputType[Any]:
    if type_ is not None and schema is None:
        return from_type(type_)
    if schema is not None and type_ is None:
        return from_schema_file(schema)
    raise InputError(
        "Give either --type or --schema.", hint="For example --type app.models:Invoice."
    )


@app.command("schema", epilog=EXIT_CODES_HELP)
@reported
def schema_command(
    reference: Annotated[
        str,
        typer.Argument(metavar="[doctor] TYPE|FILE", help="As app.models:Invoice or schema.json."),
    ],
    subject: Annotated[str | None, typer.Argument(hidden=True)] = None,
    *,
    grammar: Annotated[
        bool, typer.Option("--grammar", help="Show what the mask enforces, and what it leaves.")
    ] = False,
    debug: Debug = False,  # noqa: ARG001 - `reported` reads it
) -> ExitCode:
    """Show the JSON Schema of a type, or of a file.

    `schema doctor` says what the mask enforces of it, what it leaves, and what could be better.
    """
    if subject is None:
        return show_schema(from_reference(reference), grammar=grammar)
    if reference != "doctor":
        raise InputError(f"{reference!r} is no command.", hint="There is `schema doctor`.")
    return examine_schema(from_reference(subject))


@app.command("demo", epilog=EXIT_CODES_HELP)
@reported
def demo_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]...", help="Documents; all if none.")
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "embedded",
    fallback: Fallbacks = None,
    budget: Budget = None,
    debug: Debug = False,  # noqa: ARG001 - `reported` reads it
) -> ExitCode:
    """Extract typed objects from the documents that come with this package."""
    return demo(lambda: build_model(model, fallback or (), budget), names or [])


@app.command("models", epilog=EXIT_CODES_HELP)
@reported
def models_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]...", help="Only names that hold all of them."),
    ] = None,
    *,
    debug: Debug = False,  # noqa: ARG001 - `reported` reads it
) -> ExitCode:
    """List OpenRouter's models: what they cost, and what they support.

    A table for people, JSON Lines into a pipe. Any of them can be given as --model openrouter:NAME.
    """
    return list_models(words or [])
