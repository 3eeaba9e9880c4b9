"""The networks of a recipe: U-Nets, and encoders of segmentation-models under their decoders."""
