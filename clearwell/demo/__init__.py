"""The main job on real data, start to end: what `clearwell demo` runs."""
