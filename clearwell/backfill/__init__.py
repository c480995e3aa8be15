"""Replays history: a bounded range of raw through the pipeline of the live stream, into versioned Parquet."""
