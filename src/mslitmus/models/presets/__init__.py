"""Presets: encoder + head + training choices under their papers' names."""
