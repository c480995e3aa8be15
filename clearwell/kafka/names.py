"""Names on the wire, in one place: topics, consumer groups, record headers."""

from __future__ import annotations

# CloudEvents 1.0, Kafka protocol binding, binary content mode.
CE_SPECVERSION = "ce_specversion"
CE_ID = "ce_id"
CE_SOURCE = "ce_source"
CE_TYPE = "ce_type"
CE_TIME = "ce_time"
CE_DATASCHEMA = "ce_dataschema"
CONTENT_TYPE = "content-type"

# On raw records that a connector could not make an event of: why. Such a record is rejected whatever its value is.
REFUSED = "clearwell_refused"

# On raw records that a replay of a dead letter sent: its secret token, by which a replay that was broken off is found.
REPLAY = "clearwell_replay"

# On clean, dead and dropped records: where in raw the event came from (invariant 3).
RAW_OFFSET = "clearwell_offset"
RAW_TOPIC_ID = "clearwell_topic"

# On dead letters; never data, never trusted for control.
DEAD_REASON = "clearwell_reason"
DEAD_STEP = "clearwell_step"
DEAD_FIELD = "clearwell_field"
DEAD_PARTITION = "clearwell_partition"
DEAD_CONNECTOR = "clearwell_connector"

# On dead letters of an event that one destination can't take: which, and where in the clean topic the event is.
DEAD_DESTINATION = "clearwell_destination"
CLEAN_TOPIC_ID = "clearwell_clean_topic"
CLEAN_OFFSET = "clearwell_clean_offset"


def raw_topic(stream: str) -> str:
    """Events as the sources gave them."""
    return f"raw.{stream}"


def clean_topic(stream: str, version: int) -> str:
    """Events after the contract's steps and privacy; partition p of raw goes to partition p of clean."""
    return f"clean.{stream}.v{version}"


def dead_topic(stream: str) -> str:
    """Rejected events, sealed, with the reason in headers."""
    return f"dead.{stream}"


def dropped_topic(stream: str) -> str:
    """For each batch, the raw offsets that a declared rule dropped: no data, only the accounts of invariant 5."""
    return f"dropped.{stream}"


def cleaner_group(stream: str, version: int) -> str:
    """The consumer group of a stream's cleaner."""
    return f"cleaner.{stream}.v{version}"


def dead_letters_group(stream: str) -> str:
    """The consumer group that copies a stream's dead letters into the registry."""
    return f"dead_letters.{stream}"


def archive_group(stream: str, to: str) -> str:
    """The consumer group that archives a stream's raw events; `to` is the route's: one to another lake starts anew."""
    return f"{to}.{stream}"


def replay_group(stream: str, version: int, destination: str) -> str:
    """Whose positions the replays of dead letters to one destination are; nobody reads by it."""
    return f"replay.{stream}.v{version}.{destination}"


def deliverer_group(stream: str, version: int, destination: str) -> str:
    """The consumer group of one destination's deliverer."""
    return f"deliverer.{stream}.v{version}.{destination}"


def model_group(subscription: str) -> str:
    """The consumer group of a model's subscription."""
    return f"model.{subscription}"
