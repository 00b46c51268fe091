# SPDX-License-Identifier: MIT
"""Variants of robots behind https with certificates as companies have them: chains, bundles, names, ends, and no TLS at all."""

from harness.certificates import make_ca, make_cert, openssl
from harness.wait import wait_until
from test_robots_life import tls_door

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}


def make_chain(directory):
    """A leaf signed by an intermediate that ours signed: with and without the intermediate beside it."""
    openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=middle", "-keyout", "middle.key", "-out", "middle.csr")
    (directory / "middle.ext").write_text("basicConstraints=critical,CA:TRUE\n")
    openssl(directory, "x509", "-req", "-in", "middle.csr", "-CA", "ours.pem", "-CAkey", "ours.key", "-CAcreateserial", "-days", "30", "-extfile", "middle.ext",
            "-out", "middle.pem")  # fmt: skip
    make_cert(directory, "leaf", "middle")
    (directory / "chain.pem").write_text((directory / "leaf.pem").read_text() + (directory / "middle.pem").read_text())


def test_certificates_as_they_are(make_system, tmp_path):
    for ca in ("ours", "second", "theirs"):
        make_ca(tmp_path, ca)
    make_chain(tmp_path)
    make_cert(tmp_path, "other", "second")
    make_cert(tmp_path, "names", "ours", "DNS:*.example,DNS:localhost,IP:127.0.0.1")
    make_cert(tmp_path, "ipv6", "ours", "IP:::1")
    make_cert(tmp_path, "stranger", "theirs")
    openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1", "-keyout", "self.key", "-out", "self.pem")
    (tmp_path / "bundle.pem").write_text("# ours\r\n" + (tmp_path / "ours.pem").read_text() + "\n" + (tmp_path / "second.pem").read_text())
    system = make_system(robots=0, ready=False, settings={"robot.ca_file": tmp_path / "bundle.pem"})
    robot = system.add_robot("behind", register=False)
    at = {name: (tmp_path / f"{name}.pem", tmp_path / f"{name}.key") for name in ("leaf", "other", "names", "ipv6", "stranger", "self")}
    at["chain"] = (tmp_path / "chain.pem", tmp_path / "leaf.key")
    doors = {name: tls_door(robot, *files) for name, files in at.items()}
    for name, (url, _) in doors.items():
        system.ctl("worker", "add", name, "--base-url", url)
    system.ctl("worker", "add", "plain", "--base-url", robot.url.replace("http://", "https://"))
    system.ctl("worker", "add", "secret", "--base-url", tls_door(robot, *at["names"])[0].replace("https://", "http://"))
    system.start().wait_ready()
    wanted = {"chain": "up", "other": "up", "names": "up", "leaf": "certificate_not_trusted", "stranger": "certificate_not_trusted", "self": "certificate_not_trusted",
              "ipv6": "certificate_wrong_name"}  # fmt: skip

    def judged():
        workers = {one["name"]: one["why"] or one["verdict"] for one in system.ops.get("/api/v1/ops/workers").expect(200).json["workers"]}
        print(workers)
        return all(workers[name] == word for name, word in wanted.items()) and {workers["plain"], workers["secret"]}.isdisjoint({"up", "unknown", "suspect"}) and workers

    told = wait_until(judged, 30, "each is judged by its certificate")
    assert told["plain"] not in ("certificate_not_trusted", "refused") and told["secret"] != "refused", told
    answer = system.api.execute(1, params=LOGIN).expect(200).json
    assert answer["robot"]["worker"] in ("chain", "other", "names")
    for _, listening in doors.values():
        listening.close()
    system.check_doctor = False
