"""Miniature Carvana data sets of invented cars, so that everything runs with nobody's photos.

`render_folder` writes one: cars of several body types and paints on a studio's turntable, 16 photos each,
with the masks that belong to them.
"""

from carvana.turntable.dataset_writer import render_folder

__all__ = ["render_folder"]
