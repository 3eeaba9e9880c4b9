"""Scores with intervals, threshold search, mask checks and studies."""
