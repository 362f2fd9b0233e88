"""Studies: a grid of runs as one YAML file, and the engine that executes it on this machine."""
