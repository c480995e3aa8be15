"""How a model follows a clean topic: its own consumer group, batches as rows and as Arrow, nothing twice."""
