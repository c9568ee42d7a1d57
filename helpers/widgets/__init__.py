"""The interactive laboratories. Each shows itself as widgets, as a picture, or in words."""
