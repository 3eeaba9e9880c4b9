"""A local web page that cuts cars out of photos."""
