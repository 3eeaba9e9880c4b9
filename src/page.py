"""Open a local web page that cuts cars out of photos."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console, load


def page(
    weights: Annotated[
        str,
        typer.Option(
            help="Weights that come with the code, a run's folder, or a trained recipe.",
            callback=commandline.not_empty,
        ),
    ] = "fast",
    runs: Annotated[Path, typer.Option(help="The folder of trained runs, for a recipe.")] = Path("runs"),
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the page; 0 for any free one.")
    ] = 8765,
) -> None:
    """Serve a web page on this machine that cuts cars out of photos, until Ctrl-C.

    Photos stay in this machine's memory while they are processed, and are not kept. Other machines cannot open the
    page.

    Examples:

        ./run.sh page

        ./run.sh page --weights runs/fast/fold-0 --port 9000
    """
    from carvana.page.server import PageServer

    predictor = load(weights, runs=runs)
    with PageServer(predictor.cutout, port) as server:
        console.message(f"open {server.url} in a browser; Ctrl-C ends the page")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    commandline.run(page)
