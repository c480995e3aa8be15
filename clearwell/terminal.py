"""Text that may hold what others wrote (events, names, servers' words), made safe to show.

A terminal obeys escape sequences, and a reader's eye obeys marks that turn the direction of writing: both are shown as
what they are. Every text for people goes through here, at the one door of `clearwell.cli.output`.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line: whatever is not a plain character (controls, formats, half characters) is escaped."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """`printable`, line by line: line feeds and tabs stay."""
    if text.isprintable():
        return text
    return "".join(character if character in "\n\t" else _shown(character) for character in text)


def printable_json(text: str) -> str:
    """JSON that says the same and holds nothing that a terminal obeys; `text` is JSON already."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
