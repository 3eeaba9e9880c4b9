"""Templates of the pages that the project writes."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def load_template(path: Path, *, autoescape: bool = False, keep_trailing_newline: bool = False) -> Template:
    """Load a Jinja template, in which an unknown variable is an error.

    Args:
        path: the template; those that it includes are in the same folder.
        autoescape: escape values for HTML.
        keep_trailing_newline: keep the newline at the end of the template.
    """
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_trailing_newline,
    )
    return environment.get_template(path.name)
