"""The kinds of source and destination: discovered, described, configured, opened."""
