"""Renderer of miniature data sets: invented cars in a photo studio, in the competition's form.

With it everything runs without the competition's photos. `render_dataset` writes a data set: cars of several
body types and paints on a turntable, 16 photos each, with their masks.
"""

from carvana.turntable.dataset_writer import render_dataset

__all__ = ["render_dataset"]
