"""The state of a start: the start writes it, probes read it and import little else."""
