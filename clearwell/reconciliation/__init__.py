"""Every event is accounted for (invariant 5): raw = clean + dropped + dead, and what each destination holds."""

from clearwell.reconciliation.balance import Balance, balance

__all__ = ["Balance", "balance"]
