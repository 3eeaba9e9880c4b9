"""Find the car in a photo, pixel by pixel."""

import os

# Read by the libraries when they are imported: no start-up notes of TensorFlow's, no call home.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
