# SPDX-License-Identifier: MIT
"""Packages that only npm has, into build/bench/npm."""

import os
import shutil
import subprocess
from pathlib import Path


def modules():
    return Path(os.environ["CHASQUI_BUILD"]).resolve() / "bench" / "npm"


def environment():
    """What a process needs besides its own."""
    return {"NODE_PATH": str(modules() / "node_modules")}


def npm_install(*packages):
    """None, or why they cannot be had. A package is named as npm does: bullmq@5."""
    where = modules()
    if all((where / "node_modules" / one.split("@")[0]).exists() for one in packages):
        return None
    if not shutil.which("npm"):
        return "no npm"
    where.mkdir(parents=True, exist_ok=True)
    if not (where / "package.json").exists():
        (where / "package.json").write_text('{"private":true}')
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], cwd=where, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    return None if done.returncode == 0 else f"npm: {done.stderr.strip()[-200:]}"
