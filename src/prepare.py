"""Prepare the data folder: from existing files, the competition's zips, Kaggle, or the renderer."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.arguments import parse_size
from carvana.data import images
from carvana.data.dataset import Sample, check_sizes, nearby_data_folder, test_samples, train_samples
from carvana.data.zips import remove_unfinished
from carvana.errors import UserError
from carvana.kaggle.sources import fill_data_folder

DEFAULT_DATA = Path("data")
"""The only folder that `--source auto` downloads or renders into."""

_MIN_SIDE, _MAX_SIDE = 32, 4_096
"""Smallest and largest side of a rendered photo, in pixels."""


class Source(StrEnum):
    """Source of the images."""

    auto = "auto"
    folder = "folder"
    kaggle = "kaggle"
    turntable = "turntable"


def prepare(
    source: Annotated[
        Source,
        typer.Option(
            metavar="SOURCE",
            help="auto, folder, kaggle or turntable. auto: the folder if it is complete; else the competition's"
            " zips in it, or in a Kaggle notebook's input; else, for the empty folder `data`, Kaggle if you have"
            " credentials, or the turntable.",
        ),
    ] = Source.auto,
    data: Annotated[Path, typer.Option(help="The data folder.")] = DEFAULT_DATA,
    zips: Annotated[Path | None, typer.Option(help="Another folder with the competition's zips.")] = None,
    hq: Annotated[
        bool, typer.Option("--hq", help="Kaggle: the large photos, train_hq.zip and test_hq.zip.")
    ] = False,
    keep_zips: Annotated[
        bool | None,
        typer.Option(help="Kaggle: keep zips after unpacking. [default: keep yours, remove downloaded ones]"),
    ] = None,
    cars: Annotated[int, typer.Option(min=2, max=100_000, help="Turntable: number of training cars.")] = 24,
    test_cars: Annotated[int, typer.Option(min=1, max=100_000, help="Turntable: number of test cars.")] = 8,
    size: Annotated[str, typer.Option(help="Turntable: WIDTHxHEIGHT of the photos, in pixels.")] = "480x320",
    seed: Annotated[
        int, typer.Option(min=0, help="Turntable: random seed; the same seed renders the same files.")
    ] = 0,
) -> None:
    """Get the images, and check that photos and masks match.

    From Kaggle it downloads what training and prediction need: train, train_masks, test and the tables, about 9 GB,
    with a token of https://www.kaggle.com/settings/api in KAGGLE_API_TOKEN, or any other credentials that Kaggle's
    own client accepts. An interrupted download resumes. Without images and credentials the turntable renders
    miniature cars, so that every step runs without the competition's data.

    Examples:

        ./run.sh prepare

        ./run.sh prepare --source folder --data path/to/carvana

        ./run.sh prepare --source kaggle --data path/to/carvana

        ./run.sh prepare --source turntable --data /tmp/cars --cars 6 --test-cars 2 --size 240x160
    """
    height, width = parse_size(size, _MIN_SIDE, _MAX_SIDE)
    remove_unfinished(data)
    render = source == Source.turntable
    if source in (Source.auto, Source.kaggle):
        is_default = data.resolve() == DEFAULT_DATA.resolve()
        render = not fill_data_folder(
            data, zips=zips, hq=hq, keep_zips=keep_zips, must=source == Source.kaggle, may_sign_in=is_default
        )
        if render and not is_default:  # a typing error must not start a rendering or a long download
            nearby = nearby_data_folder(data)
            hint = f"those in {nearby} need --data {shlex.quote(str(nearby))}" if nearby else "check the path"
            raise UserError(
                f"{data}: holds no photos; {hint}, or choose where they come from with --source kaggle,"
                " --source turntable or --zips FOLDER"
            )
    if render:
        from carvana.turntable import render_dataset

        console.message(f"{data}: holds no images yet; the turntable renders miniature cars into it")
        with console.progress("render", cars + test_cars, "cars") as on_car:
            render_dataset(
                data, cars=cars, test_cars=test_cars, size=(height, width), seed=seed, on_car=on_car
            )
    train, test = train_samples(data), test_samples(data)
    check_sizes(train)
    console.show_table(
        f"Images in {data}",
        ["part", "cars", "photos", "size"],
        [_row("train", train), _row("test", test)],
    )


def _row(part: str, samples: list[Sample]) -> list[str]:
    height, width = images.photo_size(samples[0].path)
    return [part, str(len({sample.car for sample in samples})), f"{len(samples):,}", f"{width}x{height}"]


if __name__ == "__main__":
    commandline.run(prepare)
