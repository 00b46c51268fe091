# SPDX-License-Identifier: MIT
"""Fixtures of the system tests."""

from harness.fixtures import *  # noqa: F403
