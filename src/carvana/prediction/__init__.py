"""From weights to masks."""
