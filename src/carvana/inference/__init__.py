"""Inference: from photos and trained networks to probability maps and masks."""
