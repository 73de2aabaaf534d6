"""An attempt whose processes find a full disk: a limit on the size of every file they write, set from outside."""

import resource

import psutil


def let_no_file_grow_beyond(process: psutil.Process, size_bytes: int) -> None:
    """Let the kernel refuse a process every write beyond this size, as a full disk would, from now on."""
    process.rlimit(psutil.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def let_files_grow(process: psutil.Process) -> None:
    """Let there be room again."""
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
