"""Push of a bundle to Kaggle as the next version of a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from carvana import console
from carvana.errors import UserError
from carvana.files import atomic_path, write_json
from carvana.kaggle.bundle import Bundle
from carvana.kaggle.client import COMPETITION, translate_errors
from carvana.kaggle.kernel import Kernel, Quota, gpu_quota
from carvana.kaggle.options import MIN_HOURS

_SCRIPT, _METADATA = "carvana.py", "kernel-metadata.json"
ACCELERATOR = "NvidiaTeslaT4"
"""Two T4. Kaggle replaces the names of retired accelerators by another one, or by none, without a message."""
_MAX_TITLE = 50
"""Longest title in characters; Kaggle's response to a longer one is an internal error."""


@dataclass(frozen=True)
class Attachments:
    """What is attached to a notebook."""

    kernels: Sequence[str] = ()
    """Notebooks whose output is attached, `OWNER/SLUG`."""
    datasets: Sequence[str] = ()
    """Datasets, `OWNER/SLUG`."""
    models: Sequence[str] = ()
    """Models, `OWNER/SLUG/FRAMEWORK/VARIATION/VERSION`."""


@dataclass(frozen=True)
class Push:
    """A version that is to be pushed."""

    title: str
    """Title of the notebook, of which Kaggle makes its name: lower case, with `-` for spaces."""
    bundle: Bundle
    hours: float
    """Limit of the session."""
    internet: bool
    attachments: Attachments

    def write(self, folder: Path, owner: str) -> None:
        """Write the script and its metadata, as Kaggle's client pushes them."""
        with atomic_path(folder / _SCRIPT) as part:
            part.write_text(self.bundle.script, "utf-8")
        write_json(self.metadata(owner), folder / _METADATA)

    def metadata(self, owner: str) -> dict[str, object]:
        """Return the metadata of the notebook. Every key with a default in the client is set."""
        return {
            "id": f"{owner}/{slug_of(self.title)}",
            "title": self.title,
            "code_file": _SCRIPT,
            "language": "python",
            "kernel_type": "script",
            "is_private": True,
            "enable_gpu": True,
            "enable_tpu": False,
            "enable_internet": self.internet,
            "machine_shape": ACCELERATOR,
            "competition_sources": [COMPETITION],
            "kernel_sources": list(self.attachments.kernels),
            "dataset_sources": list(self.attachments.datasets),
            "model_sources": list(self.attachments.models),
        }

    def describe(self) -> list[str]:
        """Return lines about what the push uses."""
        attached = [f"competition {COMPETITION}"]
        attached += [f"output of {name}" for name in self.attachments.kernels]
        attached += [f"dataset {name}" for name in self.attachments.datasets]
        attached += [f"model {name}" for name in self.attachments.models]
        return [
            f"{len(self.bundle.script):,} characters with {self.bundle.n_files} files, SHA-256 {self.bundle.sha256}",
            f"private, two T4 GPUs, {'with' if self.internet else 'without'} internet, at most {self.hours:g} hours",
            f"attached: {', '.join(attached)}",
        ]


def slug_of(title: str) -> str:
    """Return the name that Kaggle makes of a title of letters, digits, spaces and `-`."""
    return "-".join(title.lower().split())


def make_title(step: str, recipe: str, key: str) -> str:
    """Return the title of a notebook, at most 50 characters.

    Args:
        step: train or predict.
        recipe: name of the recipe.
        key: the settings' key, whose first digits tell notebooks of the same recipe from one another.
    """
    plain = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in recipe)
    words = " ".join(plain.lower().split())
    ending = f" {key[:8]}"
    return f"carvana {step} {words}"[: _MAX_TITLE - len(ending)].strip() + ending


def check_quota(quota: Quota | None, hours: float) -> None:
    """Print the quota of GPU time, and check that it suffices for a session.

    Raises:
        UserError: less is left than the session may take.
    """
    if quota is None:
        console.message("GPU quota: Kaggle returns none for this account")
        return
    renewal = f", renewed on {quota.renewed} UTC" if quota.renewed else ""
    left = int(quota.left * 10) / 10  # not rounded up: the session must fit into it
    if quota.left < hours:
        shorter = f"give --hours {left:g}, or " if left >= MIN_HOURS else ""
        raise UserError(
            f"GPU quota: {left:.1f} of {quota.allowed:g} hours are left this week, and the session may take"
            f" {hours:g}; {shorter}wait until it is renewed{renewal.removeprefix(', renewed')}"
        )
    console.message(
        f"GPU quota: {left:.1f} of {quota.allowed:g} hours are left this week{renewal}; this session takes at"
        f" most {hours:g}"
    )


def push(kernel: Kernel, version: Push, folder: Path) -> tuple[int, list[str]]:
    """Push a version, which Kaggle runs at once.

    Args:
        kernel: the notebook.
        version: what to push.
        folder: the folder to write script and metadata to.

    Returns:
        The version's number, and the names of what Kaggle did not attach: the push succeeds without it.

    Raises:
        UserError: too little quota is left, or Kaggle refuses the push.
    """
    check_quota(gpu_quota(kernel.api), version.hours)
    version.write(folder, kernel.owner)
    with translate_errors(f"push {kernel.ref}"):
        response = kernel.api.kernels_push(str(folder), timeout=str(int(version.hours * 3600)))
    if response.error:
        raise UserError(f"push {kernel.ref}: Kaggle refuses it ({' '.join(response.error.split())})")
    if not response.version_number:
        raise UserError(f"push {kernel.ref}: Kaggle's response has no version; see {kernel.url}")
    _check_name(kernel, response.url)
    return response.version_number, [
        *response.invalid_competition_sources,
        *response.invalid_kernel_sources,
        *response.invalid_dataset_sources,
        *response.invalid_model_sources,
    ]


def _check_name(kernel: Kernel, address: str) -> None:
    """Raise UserError if Kaggle gave the notebook another name than its title's."""
    slug = urlsplit(address).path.rstrip("/").rpartition("/")[2]
    if slug and slug.lower() != kernel.slug:
        raise UserError(
            f"push {kernel.ref}: Kaggle named the notebook {slug}, under which it cannot be followed; at {address}"
            " cancel its session, which uses the quota, and delete it, and run the same command again"
        )
