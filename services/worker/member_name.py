"""What a job is called as a member of its consumer group (static membership).

A member that comes back under its name takes its partitions back at once, and pushes out the one that had it before.
"""

from __future__ import annotations

import hashlib
import os
import socket
from urllib.parse import urlsplit


def member_name(job: str, postgres: str, leased: bool) -> str | None:
    """Under a lease the job's own name: one worker alone runs it, and who takes it over pushes the former one out.

    Without a lease that of the process (CLEARWELL_WORKER); None, an ordinary member, where it has none.
    """
    if leased:
        return f"{job}.{platform_id(postgres)}"
    process = os.environ.get("CLEARWELL_WORKER")
    return f"{job}.{process}" if process else None


def platform_id(postgres: str) -> str:
    """Tells members of consumer groups apart that workers of several platforms, on one Kafka, would be.

    One registry is one platform; an address on loopback means another one on each host.
    """
    parts = urlsplit(postgres)
    is_local = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
    text = f"{parts.hostname}:{parts.port}{parts.path} {socket.gethostname() if is_local else ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]
