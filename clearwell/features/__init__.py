"""Feature views beyond their tables: what contracts declare, Feast's objects of it, and the online store it reads."""
