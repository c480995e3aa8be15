"""What the platform knows: connectors, their positions, subscriptions, and who changed them."""

from clearwell.registry.connectors import Connector, Limits, State
from clearwell.registry.database import Registry
from clearwell.registry.migrate import migrate
from clearwell.registry.positions import SavedPosition
from clearwell.registry.subscriptions import (
    Subscription,
    get_subscription,
    list_subscriptions,
    remove_subscription,
    save_subscription,
)

__all__ = [
    "Connector",
    "Limits",
    "Registry",
    "SavedPosition",
    "State",
    "Subscription",
    "get_subscription",
    "list_subscriptions",
    "migrate",
    "remove_subscription",
    "save_subscription",
]
