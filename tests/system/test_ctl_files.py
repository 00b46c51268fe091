# SPDX-License-Identifier: MIT
"""Files as spreadsheets and shells write them: what `batch submit` makes of them, and what it says of those that it cannot take."""

import json

import pytest
from ctl_desk import Ctl, FakeBroker, conf_with

SUBMIT = ("--portal", "sunat", "--action", "sunat.menu_sol_login")
ROWS = [{"company_id": 7, "params": {"usuario": "Peña", "clave": "a;b"}}, {"company_id": 8, "params": {"usuario": "x"}}]
TEXT = 'company_id;usuario;clave\r\n7;Peña;"a;b"\r\n8;x;\r\n'


@pytest.fixture
def ctl(tmp_path, database):
    return Ctl(tmp_path / "ctl", database)


def submitted(ctl, data):
    """(items that the broker got, what was said)."""
    file = ctl.directory / "file.csv"
    file.write_bytes(data)
    accepted = {"ok": True, "batch_id": 5, "accepted": 2, "rejected_total": 0, "rejected": []}
    with FakeBroker(lambda *_: (202, accepted)) as broker:
        told = ctl.run("batch", "submit", file, *SUBMIT, conf=conf_with(ctl, ctl__api_url=broker.url, ctl__ops_url=broker.url, ctl__token="7|abc"), check=False)
        bodies = [asked[4] for asked in broker.asked if asked[0] == "POST"]
    body = bodies[0] if bodies else b""
    return [json.loads(line) for line in body.splitlines() if line.strip()], told.stdout + told.stderr


def test_files_that_mean_the_same(ctl):
    for name, data in {
        "semicolons": TEXT.encode(),
        "a byte order mark": TEXT.encode("utf-8-sig"),
        "commas": TEXT.replace(";", ",").replace('"a,b"', '"a;b"').encode(),
        "tabs": 'company_id\tusuario\tclave\n7\tPeña\ta;b\n8\tx\t\n'.encode(),
        "sep=;": ("sep=;\r\n" + TEXT).encode(),
        "UTF-16 LE": TEXT.encode("utf-16"),
        "UTF-16 BE": b"\xfe\xff" + TEXT.encode("utf-16-be"),
        "UTF-16 LE without mark": TEXT.encode("utf-16-le"),
        "Windows-1252": TEXT.encode("cp1252"),
        "CR only": TEXT.replace("\r\n", "\r").encode(),
        "no end": TEXT.rstrip().encode(),
        "rows of separators": (TEXT + ";;\r\n;;\r\n \r\n; ;\r\n").encode(),
        "rows of separators first": (";;\r\n ; ;\r\n" + TEXT).encode(),
        "formulas that are texts": TEXT.replace("7;", '="7";').encode(),
        "a Ctrl-Z": (TEXT + "\x1a").encode(),
        "columns without name": "company_id;usuario;clave;;\n7;Peña;\"a;b\";;\n8;x;;;\n".encode(),
        "cells left out": "company_id;usuario;clave\n7;Peña;\"a;b\"\n8;x\n".encode(),
        "blanks": ' company_id ; usuario;clave \n 7 ;  Peña;"a;b" \n8; x ; \n'.encode(),
        "another case": TEXT.replace("company_id;usuario;clave", "COMPANY ID;USUARIO;Clave").encode(),
        "a camel": TEXT.replace("company_id", "companyId").encode(),
        "zeros": TEXT.replace("7;", "0007;").encode(),
        "no-break spaces": TEXT.replace("company_id", "\u00a0company_id\u00a0").encode(),
        "NDJSON": "\n".join(json.dumps(one) for one in ROWS).encode(),
        "NDJSON from PowerShell": "\r\n".join(json.dumps(one, ensure_ascii=False) for one in ROWS).encode("utf-16"),
        "NDJSON with a mark": b"\xef\xbb\xbf" + "\r\n".join(json.dumps(one) for one in ROWS).encode(),
    }.items():  # fmt: skip
        items, said = submitted(ctl, data)
        assert items == ROWS, (name, items, said)
        assert ("Windows-1252" in said) == (name == "Windows-1252"), (name, said)


def test_what_cannot_be_taken_is_said_in_a_sentence(ctl):
    for data, said in (
        (b"company_id;clave\n2,0123E+10;x\n8;y\n", "company_id is 2,0123E+10: the spreadsheet shortened it"),
        (b"company_id,clave\n2.0123E+10,x\n8,y\n", "company_id is 2.0123E+10: the spreadsheet shortened it"),
        (b"company_id;clave\n7,00;x\n8;y\n", "company_id is 7,00: it must be digits only"),
        (b"company_id;clave\n20.123.456;x\n8;y\n", "company_id is 20.123.456: it must be digits only"),
        (b"company_id;clave\nsiete;x\n8;y\n", "company_id must be a whole number of 1 or more"),
        (b"company_id;clave\n7;a;b\n8;y\n", "it has 3 fields, the first row has 2"),
        (b"company_id;clave\n7;\x81\x8d\n8;y\n", "neither UTF-8 nor Windows-1252"),
        (b"PK\x03\x04\x14\x00\x06\x00", "is a spreadsheet, not a text; save it as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a spreadsheet, not a text"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it first"),
        (b'\xef\xbb\xbf[{"company_id":7},\n{"company_id":8}]\n', "is a JSON list; write an object a line"),
        (b'{\n  "company_id": 7\n}\n{\n  "company_id": 8\n}\n', "is JSON of several lines an object; write an object a line, as with: jq -c . FILE"),
        ("empresa;clave\n7;x\n".encode("cp1252"), "no column is named company_id; there is empresa, clave"),
        (b"company_id;Clave;CLAVE\n7;x;y\n", "two columns are named clave"),
        (b"\xff\xfe", "holds no items"),
    ):  # fmt: skip
        items, told = submitted(ctl, data)
        assert said in told, (data, told)
        assert items in ([], [{"company_id": 8, "params": {"clave": "y"}}]), (data, items)
