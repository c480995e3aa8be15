"""What kafka-python raises, as our errors: one sentence that says what happened and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

from clearwell.errors import ClearwellError, ConfigError, Retryable

_UNREACHABLE = (errors.KafkaTimeoutError, errors.KafkaConnectionError, errors.NodeNotReadyError)
_NOT_ALLOWED = (errors.AuthorizationError, errors.SecurityDisabledError)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_WRONG = (
    errors.InvalidTopicError,
    errors.InvalidConfigurationError,
    errors.InvalidPartitionsError,
    errors.PolicyViolationError,
    errors.UnsupportedVersionError,
    errors.KafkaConfigurationError,
    errors.InvalidRecordError,
)


class RecordTooLarge(ConfigError):
    """A record is larger than its topic or cluster takes; nothing of its batch was written."""


@contextmanager
def translated(bootstrap: str, doing: str) -> Iterator[None]:
    """Errors of kafka-python inside become ClearwellErrors; `doing` completes "while …" and holds no data."""
    try:
        yield
    except ClearwellError:
        raise
    except (errors.KafkaError, OSError, ValueError) as error:
        raise as_ours(error, bootstrap, doing) from None


def as_ours(error: Exception, bootstrap: str, doing: str) -> ClearwellError:
    """The ClearwellError that says what `error` means. Texts of the library may quote records: they are left out."""
    if isinstance(error, (*_UNREACHABLE, OSError)):
        return Retryable(
            f"Kafka at {bootstrap} did not answer while {doing}: is it running, and is CLEARWELL_KAFKA right?"
        )
    if isinstance(error, errors.SaslAuthenticationFailedError):
        return ConfigError(
            f"Kafka at {bootstrap} refuses the user or the password, while {doing}: correct them; those of Clearwell's "
            "own Kafka are CLEARWELL_KAFKA_USER and CLEARWELL_KAFKA_PASSWORD."
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return ConfigError(
            f"Kafka at {bootstrap} does not take this SASL mechanism, while {doing}: choose another one; that of "
            "Clearwell's own Kafka is CLEARWELL_KAFKA_MECHANISM."
        )
    if isinstance(error, _NOT_ALLOWED):
        return ConfigError(f"Kafka at {bootstrap} refused the right for {doing} ({type(error).__name__}): grant it.")
    if isinstance(error, errors.InvalidReplicationFactorError):
        return ConfigError(f"Kafka at {bootstrap} has fewer brokers than the replication asked for, while {doing}.")
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return Retryable(f"Kafka at {bootstrap} does not know the topic (any more), while {doing}.")
    if isinstance(error, _TOO_LARGE):
        return RecordTooLarge(f"Kafka at {bootstrap} found a record too large, while {doing}: raise max.message.bytes.")
    if isinstance(error, _WRONG):
        return ConfigError(f"Kafka at {bootstrap} refused {doing} ({type(error).__name__}).")
    if isinstance(error, ValueError):
        return ConfigError(f"{bootstrap!r} is no list of host:port addresses: set CLEARWELL_KAFKA right.")
    return Retryable(f"Kafka at {bootstrap} failed while {doing} ({type(error).__name__}); trying again.")
