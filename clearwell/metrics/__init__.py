"""Figures of processes as Prometheus reads them: one table names all metrics, a server shows them (decision 0043)."""
