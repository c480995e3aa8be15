"""Which jars the embedded Kafka is made of: `clearwell/local/pins.toml`, and how that file is made anew.

`python -m clearwell.local.pins > clearwell/local/pins.toml` resolves the two roots below once more, downloads every jar
and writes coordinates, SHA-256 and size of each. Nothing else resolves anything: what runs is what is pinned.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import tomllib
from pathlib import Path

import msgspec

from clearwell.errors import ConfigError

ROOTS = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
"""With log4j-slf4j-impl instead of slf4j-simple, jgo resolves an older kafka-clients that does not fit."""

PINS_FILE = Path(__file__).with_suffix(".toml")


class Jar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One jar: Maven coordinates "group:artifact:version", SHA-256 in hex, size in bytes."""

    coordinates: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The name of its file in the cache."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


class Pins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the pins file."""

    jars: tuple[Jar, ...]


def load(file: Path = PINS_FILE) -> Pins:
    """The pins. Raises ConfigError when the file is missing or damaged."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text()), Pins)
    except FileNotFoundError:
        raise ConfigError(f"{file} is missing: install Clearwell again.") from None
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} is damaged ({error}): install Clearwell again.") from error


def resolve(roots: tuple[str, ...], work: Path) -> list[Jar]:
    """Resolve and download `roots` with all they need at run time, into `work`."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=work)
    direct, indirect = context.resolver.resolve([context.create_dependency(root) for root in roots])
    jars = []
    for dependency in [
        *direct,
        *(dependency_found for dependency_found in indirect if dependency_found.scope in ("compile", "runtime")),
    ]:
        content = dependency.artifact.resolve().read_bytes()
        name = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        jars.append(Jar(name, hashlib.sha256(content).hexdigest(), len(content)))
    return jars


def main() -> None:
    """Write the pins file's text to standard output."""
    with tempfile.TemporaryDirectory() as work:
        jars = resolve(ROOTS, Path(work))
    lines = ["# Made by `python -m clearwell.local.pins > clearwell/local/pins.toml`; do not edit by hand."]
    for jar in jars:
        lines.append(f'[[jars]]\ncoordinates = "{jar.coordinates}"\nsha256 = "{jar.sha256}"\nsize = {jar.size}')
    sys.stdout.write("\n\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
