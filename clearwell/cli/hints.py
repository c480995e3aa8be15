"""What helps after an error, as commands: the control plane names an act, this face words it."""

from __future__ import annotations

from clearwell.errors import ClearwellError

WORDING = {
    "connectors.draft_contract": "Draft one: `clearwell connector discover FILE --write-contract`.",
    "connectors.keep_upstream": "Run `clearwell connector pause {subject}` first, or leave it by --keep-upstream.",
    "connectors.list": "See `clearwell connector list`.",
    "connectors.pause": "Run `clearwell connector pause {subject}` first.",
    "connectors.remove_unasked": "(--keep-upstream removes the connector without asking its source.)",
    "connectors.resume": "`clearwell connector resume {subject}` reads on.",
    "connectors.show": "See `clearwell connector show {subject}`.",
    "connectors.show_position": "`clearwell connector positions get {subject}` shows it; then set it again.",
    "dead_letters.list": "See `clearwell dead-letter list`.",
    "dead_letters.reopen": "`clearwell dead-letter reopen {subject}` lets it wait again.",
    "dead_letters.replay": "`clearwell dead-letter replay` finishes it first.",
    "dead_letters.select": "(--stream, --reason and the other filters, or ids: one of both.)",
    "dead_letters.show": "See `clearwell dead-letter show {subject}`.",
    "contracts.draft_elsewhere": "Remove it, or write elsewhere by --into.",
    "contracts.draft_from": "Choose one by --from.",
    "contracts.publish": "Publish one: `clearwell contract publish {subject}`.",
    "contracts.publish_minor": "`clearwell contract publish {subject} --minor` publishes it; or make it a new version.",
    "contracts.show": "See `clearwell contract show {subject}`.",
    "destinations.list": "See `clearwell destination list`.",
    "destinations.name_stream": "Name one by --stream.",
    "destinations.pause": "Run `clearwell destination pause {subject}` first, with --stream for one stream alone.",
    "destinations.redeliver": "Do it with --yes.",
    "destinations.register": "`clearwell destination register KIND.NAME` registers one.",
    "destinations.show": "See `clearwell destination show {subject}`.",
    "destinations.show_kind": "See `clearwell destination spec {subject}`.",
    "jobs.list": "See `clearwell job list`.",
    "jobs.resume": "`clearwell job resume {subject}` lets it go on.",
    "jobs.show": "See `clearwell job show {subject}`.",
    "keys.create": "Make one with `clearwell key create`, or set CLEARWELL_KEYS.",
    "keys.make_private": "Run `chmod 600 {subject}`.",
    "lake.check": "`clearwell lake check {subject}` proves that it is whole.",
    "lake.force": "--force does it all the same.",
    "streams.delete_data": "Do it with --yes; --dry-run shows which.",
    "streams.list": "See `clearwell stream list`.",
    "streams.make_topics": "Run `clearwell up`, or register a connector.",
    "streams.realign": "`clearwell stream realign {subject} --dry-run` shows where its readers are.",
    "streams.show": "See `clearwell stream show {subject}`.",
    "subscriptions.list": "See `clearwell subscription list`; `clearwell subscribe` makes one.",
    "subscriptions.purpose": "Give a --purpose, or choose other --fields.",
    "subscriptions.remove": "Run `clearwell subscription remove {subject}` first.",
    "subscriptions.replace": "--replace changes it (its position stays); or take another name.",
    "subscriptions.show": "See `clearwell subscription show {subject}`.",
    "workers.list": "See `clearwell worker list`.",
    "features.apply": "Run `clearwell feature apply`.",
    "features.deliver": "Run its deliverer: `clearwell up`.",
    "features.refresh": "Run `clearwell feature refresh`.",
}
"""By act; `{subject}` is what it acts on."""


def sentence(error: ClearwellError) -> str:
    """What happened, and what to do about it on the command line."""
    if error.hint is None:
        return str(error)
    return f"{error} {WORDING[error.hint.act].format(subject=error.hint.subject)}"
