"""What may go wrong with an HTTP server, in one sentence each: no address beyond the host, no data, no secrets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from yarl import URL

from clearwell.errors import ConfigError, Retryable
from clearwell.retry_after import LONGEST_WAIT, retry_after

_BUSY = (408, 425, 429)


class NotThere(ConfigError):
    """The server has nothing at a URL (404)."""


class Busy(Retryable):
    """The server asks us to come again after `seconds`."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


def web_url(text: str, option: str, schemes: tuple[str, ...]) -> URL:
    """The URL in a configuration. Raises ConfigError, naming `option` and not quoting the URL."""
    try:
        url = URL(text)
        valid = url.port is not None and url.host and url.scheme in schemes
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"`{option}` is no URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
    if url.user or url.password:
        raise ConfigError(f"`{option}` holds a user or password: write them in `auth`.")
    return url.with_fragment(None)


def place_of(url: URL) -> str:
    """Host and port, for messages: paths and queries may hold secrets."""
    return url.host_port_subcomponent or "?"


@contextmanager
def failures(who: str) -> Iterator[None]:
    """aiohttp's exceptions as ours; `who` names the server at the start of a sentence."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "certificate not valid")
        raise ConfigError(f"{who} could not prove who it is ({reason}): set `ca` or the host right.") from None
    except aiohttp.ClientSSLError:
        raise ConfigError(f"{who} does not speak TLS as it should: is the URL's scheme right?") from None
    except aiohttp.ClientConnectorDNSError:
        raise Retryable(f"{who} can't be found (its name does not resolve): is it right?") from None
    except aiohttp.ClientConnectorError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no connection"
        raise Retryable(f"{who} can't be reached ({reason}); trying again.") from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise ConfigError(f"{who} is, or redirects to, an address that is no valid URL: set it right.") from None
    except aiohttp.TooManyRedirects:
        raise ConfigError(f"{who} redirects again and again: set `url` to where it leads.") from None
    except TimeoutError:
        raise Retryable(f"{who} did not answer in time; trying again.") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Retryable(f"{who} broke the connection off ({type(error).__name__}); trying again.") from None


def require_success(status: int, headers: Mapping[str, str], who: str) -> None:
    """Raises Busy when the server says when to come again, Retryable when it may pass, ConfigError for the rest."""
    if status < 300:
        return
    seconds = _wait_seconds(headers)
    if status in _BUSY or status >= 500 or (status == 403 and seconds is not None):
        message = f"{who} can't answer now ({status}); trying again."
        raise Retryable(message) if seconds is None else Busy(message, seconds)
    told = {
        401: "does not accept who we are (401): set `auth` right",
        403: "does not let us read this (403): grant the right, or set `auth` right",
        404: "has nothing at this URL (404): set `url` right",
        410: "has nothing at this URL any more (410): set `url` right",
    }
    kind = NotThere if status == 404 else ConfigError
    raise kind(f"{who} {told.get(status, f'refused the request ({status}): check the options')}.")


def _wait_seconds(headers: Mapping[str, str]) -> float | None:
    """When to come again: by Retry-After, or when no request is left, by the second at which there are more."""
    seconds = retry_after(headers.get("Retry-After"))
    if seconds is None and headers.get("X-RateLimit-Remaining", "").strip() == "0":
        reset = headers.get("X-RateLimit-Reset", "").strip()
        if reset.isascii() and reset.isdecimal() and len(reset) < 12:
            now = time.time()
            left = int(reset) - now if int(reset) > now / 2 else int(reset)  # a time, or a number of seconds
            return min(max(left, 0.0), LONGEST_WAIT)
    return seconds


async def body_of(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """An answer's body; None, without reading further, when it is larger than `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
