"""What the platform knows: connectors, their positions, subscriptions, and who changed them."""

from clearwell.registry.connectors import Connector, Limits, State
from clearwell.registry.database import Registry
from clearwell.registry.migrate import migrate
from clearwell.registry.positions import SavedPosition

__all__ = ["Connector", "Limits", "Registry", "SavedPosition", "State", "migrate"]
