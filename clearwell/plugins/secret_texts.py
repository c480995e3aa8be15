"""Which texts of a configuration are secrets, by what they are called and by what they look like (invariant 10).

A source's author marks what is secret, but can't mark what a person puts into a free map, a header or a URL's query.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

_NAMES = re.compile(
    r"(.*_)?("
    r"password|passwd|pwd|passphrase|pass|pin|secret|secrets|token|jwt|bearer|authorization|auth|credentials?|cookie"
    r"|sig|signature|hmac|sas|apikey"
    r"|(account|api|access|secret|private|signing|encryption|master|shared|service|storage|client|consumer|app)_?key"
    r"|key_?(file_?)?(content|data|json)|connection_?string|conn_?str|dsn|sas_token|keytab"
    r")([_0-9].*)?"
)
"""Of a lower-case name with _ for what is no letter: `X-Vault-Token`, `account_key`, `sig`, `AWS_SECRET_ACCESS_KEY`."""

_INNOCENT = re.compile(
    r".*(_(url|uri|endpoint|path|file|field|column|header|name|type|kind|method|mode|id|expires?|ttl|seconds|prefix"
    r"|source|mechanism|plugin|version|algorithm|timeout|provider|scope|audience|realm|db|database|length))|"
    r"(require|default)_auth|"
    r"(token|secret|password|key)_(url|uri|endpoint|path|file|field|column|header|name|type|kind|id)"
)
"""What tells about a secret and is none: `token_url`, `key_id`; and what drivers' URLs are full of: `authSource=admin`
of MongoDB, `require_auth=scram-sha-256` of PostgreSQL, `signature_version` of S3."""

_WHOLE = ("session_id", "webhook_url")
"""Secrets in spite of how they end."""

_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])("
    r"(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|(sk|pk|rk)[-_](live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{16,}|AIza[\w-]{30,}|hv[sbr]\.[\w-]{20,}"
    r"|whsec_[\w+/=-]{16,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY|(?i:bearer|basic) +[A-Za-z0-9+/=._~-]{8,}|(?i:password|pwd|accountkey)=[^;&\s]+"
)
"""How well-known services write theirs; the last ones, what a header and a connection string look like."""

_WORD = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret, whatever it holds."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    return plain in _WHOLE or (_NAMES.fullmatch(plain) is not None and _INNOCENT.fullmatch(plain) is None)


def looks_secret(text: str) -> bool:
    """Whether a text holds what a service gives out as a secret, or a word that only chance has made."""
    return _SHAPES.search(text) is not None or any(_is_random(word) for word in _WORD.findall(text))


def _is_random(word: str) -> bool:
    """Many kinds of letters that change all the time, in no order: names that people give have neither."""
    if _UUID.fullmatch(word):
        return False
    parts = [part for part in (*re.split(r"[/_=+-]", word), re.sub(r"[/_=+-]", "", word)) if len(part) >= 20]
    return any(_is_random_part(part) for part in parts)


def _is_random_part(part: str) -> bool:
    kinds = ["0" if letter.isdigit() else "a" if letter.islower() else "A" for letter in part]
    changes = sum(kind != other for kind, other in pairwise(kinds)) / (len(part) - 1)
    entropy = -sum(n / len(part) * math.log2(n / len(part)) for n in Counter(part).values())
    if len(set(kinds)) == 3:
        return changes >= 0.4 and entropy >= 3.5
    is_hex = re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", part) is not None
    return (
        len(set(kinds)) == 2 and (is_hex or len(part) >= 24) and len(part) >= 24 and changes >= 0.25 and entropy >= 3.0
    )
