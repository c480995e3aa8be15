"""Performance, measured: each figure beside the raw limit of this machine, seen in the same run."""
