"""How a source is read into raw: batch by batch, its position saved after Kafka has acknowledged."""
