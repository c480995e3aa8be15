"""`python -m clearwell.local.child [OPTION] PARENT SIGNAL COMMAND…`: becomes COMMAND, bound to its parent.

When the parent (the supervisor) dies in any way, the kernel sends SIGNAL, so that nothing is left running.

PostgreSQL refuses to run as root. Started by root, with
--owner FOLDER     the command runs in FOLDER as its owner, with no rights at all. FOLDER may be below folders that only
                   root may enter (/root, a `mktemp -d`): the command names it /proc/self/cwd, which leads there.
--unprivileged     the command runs as `nobody` and keeps of root's rights CAP_DAC_OVERRIDE, through the exec
                   (capabilities(7)). For `initdb` alone: it needs a user that has a name, and answers nobody.
For anybody else nothing changes, but that --owner enters FOLDER.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

NOBODY = 65534

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def prefix(stop_signal: int, unprivileged: bool = False, owner: Path | None = None) -> list[str]:
    """What to put before a command, so that it runs as this module's text says, as a child of this process."""
    option = ["--unprivileged"] if unprivileged else ["--owner", str(owner)] if owner is not None else []
    return [sys.executable, "-m", "clearwell.local.child", *option, str(os.getpid()), str(int(stop_signal))]


def become_owner(folder: str) -> None:
    """Enter `folder` and become its owner for good, without capabilities or other groups. Raises OSError."""
    os.chdir(folder)
    if os.geteuid() != 0:
        return
    owner = Path().stat()
    if owner.st_uid == 0:
        raise OSError(f"{folder} belongs to root, whom nothing may run as here")
    os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)  # takes every capability, for good
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def drop_privileges() -> None:
    """Become `nobody` with CAP_DAC_OVERRIDE; nothing when this is not root. Raises OSError."""
    if os.geteuid() != 0:
        return
    # Without this bit setuid would take all rights, and access(2), which PostgreSQL uses to find its own program, would
    # ignore the one that is kept (capabilities(7), "The securebits flags").
    _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; then the upper halves
    if _libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)


def bind_to(parent: int, number: int) -> None:
    """Have the kernel send this process signal `number` when `parent` dies; end now when it is dead already."""
    _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(1)


def _prctl(option: int, *args: int) -> None:
    padded = [ctypes.c_ulong(argument) for argument in (*args, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(args: list[str]) -> None:
    """See the module's text. Never returns."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump of memory holds keys and passwords
    if args[0] == "--owner":
        become_owner(args[1])
        args = args[2:]
    elif args[0] == "--unprivileged":
        drop_privileges()
        args = args[1:]
    parent, number, *command = args
    bind_to(int(parent), int(number))  # last: a change of user clears it
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv(command[0], command)  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(sys.argv[1:])
