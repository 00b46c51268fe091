# SPDX-License-Identifier: MIT
"""Libraries that are preloaded into a process, to change what its C library says."""

import subprocess

NO_SYNC = """
#define _GNU_SOURCE
#include <sys/types.h>
int fsync(int fd) { return fd < 0 ? -1 : 0; }
int fdatasync(int fd) { return fd < 0 ? -1 : 0; }
int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) { (void)at, (void)n, (void)flags; return fd < 0 ? -1 : 0; }
int msync(void *at, size_t n, int flags) { (void)at, (void)n, (void)flags; return 0; }
"""

def compiled(directory, name, source):
    """The shared library of a C text."""
    text, library = directory / f"{name}.c", directory / f"{name}.so"
    text.write_text(source)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, text, "-ldl"], check=True)
    return library
