"""The Faust runtime: fetched batches of one partition, processed in order, acknowledged last."""
