# SPDX-License-Identifier: MIT
"""What the demo robot has to give: companies' mailboxes and files.

Owns the rule by which every byte follows from names alone, so that a test can check any byte of any file without having
seen it before. Has no state and does no I/O; it cannot fail.

A file is a sequence of blocks of 1 MiB. Block n of a file is the same pseudo-random megabyte, except that its first eight
bytes are n, big-endian: swapped, lost or repeated blocks show.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

BLOCK_BYTES = 1 << 20
PAGES = 3
PAGE_ITEMS = 10
SUBJECTS = (
    "Notificación de orden de pago",
    "Resolución de intendencia",
    "Constancia de presentación",
    "Requerimiento de información",
    "Carta inductiva",
)


@dataclass(frozen=True)
class File:
    token: str
    company_id: int
    name: str
    size: int
    content_type: str = "application/pdf"


def file_token(robot: str, company_id: int, name: str) -> str:
    return hashlib.sha256(f"chasqui-demo|{robot}|{company_id}|{name}".encode()).hexdigest()[:48]


@lru_cache(maxsize=64)
def _block(token: str, size: int) -> bytes:
    return hashlib.shake_256(token.encode()).digest(size)


def chunks(token: str, size: int):
    """The file's bytes, as blocks of at most 1 MiB."""
    block = bytearray(_block(token, min(size, BLOCK_BYTES)))
    for number in range(0, -(-size // BLOCK_BYTES)):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block[: min(BLOCK_BYTES, size - number * BLOCK_BYTES)])


def whole(token: str, size: int) -> bytes:
    return b"".join(chunks(token, size))


def message_file(robot: str, company_id: int, number: int) -> File:
    """The attachment of a company's message; 20-200 KiB."""
    name = f"notificación-{number:03}.pdf"
    token = file_token(robot, company_id, name)
    return File(token, company_id, name, 20_000 + int(token[:8], 16) % 180_000)


def mailbox_page(robot: str, company_id: int, page: int) -> dict:
    items = []
    for number in range((page - 1) * PAGE_ITEMS, page * PAGE_ITEMS) if 1 <= page <= PAGES else ():
        file = message_file(robot, company_id, number)
        items.append(
            {
                "id": company_id * 1000 + number,
                "subject": f"{SUBJECTS[number % len(SUBJECTS)]} {company_id}-{number:03}",
                "date": f"2026-{1 + number % 12:02}-{1 + number % 28:02}",
                "file_token": file.token,
                "size": file.size,
                "name": file.name,
            }
        )
    return {"ok": True, "company_id": company_id, "page": page, "pages": PAGES, "items": items}


def mailbox_files(robot: str, company_id: int) -> list:
    return [message_file(robot, company_id, number) for number in range(PAGES * PAGE_ITEMS)]
