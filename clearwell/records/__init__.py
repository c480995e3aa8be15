"""What is on the wire: raw, clean, dead and dropped records, and what reads them alike everywhere."""
