"""How far a start is: written by the start, and read by probes, which import little else."""
