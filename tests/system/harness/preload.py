# SPDX-License-Identifier: MIT
"""Libraries that are preloaded into a process, to change what its C library says."""

import subprocess


def compiled(directory, name, source):
    """The shared library of a C text."""
    text, library = directory / f"{name}.c", directory / f"{name}.so"
    text.write_text(source)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, text, "-ldl"], check=True)
    return library
