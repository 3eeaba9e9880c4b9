"""Options of the scripts for work on Kaggle's machines."""

from typing import Annotated, Literal

import typer

On = Annotated[
    Literal["kaggle"] | None,
    typer.Option(
        help="Work on Kaggle's machines, with the competition's photos there; needs a token of Kaggle."
    ),
]
Hours = Annotated[
    float,
    typer.Option(min=0.1, max=12.0, help="--on kaggle: limit of the session, and of the quota it takes."),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="--on kaggle: push, and do not wait; the same command follows.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="--on kaggle: write what would be pushed, and send nothing.")
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="--on kaggle: without internet; attach the packages that the image lacks."
    ),
]
Attach = Annotated[
    list[str] | None,
    typer.Option(help="--on kaggle: a dataset OWNER/NAME with wheels or networks; may be repeated."),
]
