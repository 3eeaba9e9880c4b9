"""From photos to weights."""
