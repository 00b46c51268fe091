# SPDX-License-Identifier: MIT
"""What is made of the programs' tables, and what is in packaging/: it is valid, and it knows no name that does not exist."""

import configparser
import json
import pwd
import re
import shutil
import subprocess

import pytest

from harness import program
from harness.process import clean_env
from harness.system import ROOT

MADE = program("chasqui").parent / "made"
PAGES = ["chasqui.1", "chasqui.conf.5", "chasqui-api.7", "chasqui-metrics.7", "chasqui-broker.8", "chasqui-dispatcher.8", "chasqui-healthd.8"]
RULES = ROOT / "packaging/prometheus/chasqui.rules.yml"
DASHBOARD = ROOT / "packaging/grafana/chasqui.json"


def table(path, row):
    return re.findall(row, (ROOT / path).read_text(encoding="utf-8"), re.M)


# --- manual pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_good_roff(page):
    groff = shutil.which("groff")
    assert groff, "groff is missing: make deps"
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", MADE / page], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert re.search(r"^NAME\n +\S+ - .+", text, re.M) and "SEE ALSO" in text and "DESCRIPTION" in text


def test_pages_say_what_the_tables_say():
    def words(page):
        return re.sub(r"\\-", "-", (MADE / page).read_text())

    for noun, verb in table("ctl/command.def", r'^COMMAND\("([a-z]+)", "([a-z]*)"'):
        assert f"\\fB{noun} {verb}".rstrip() + "\\fR" in words("chasqui.1")
    for section, key in table("common/conf.def", r"^CONF_(?:STR|INT)\([^,]+, (\w+), (\w+),"):
        assert f"\\fB{section}.{key}\\fR" in words("chasqui.conf.5")
    for name in table("common/stat.def", r"^(?:STAT|HISTOGRAM|FAMILY)\([^,]+, (\w+),"):
        assert f"\\fBchasqui_{name}\\fR" in words("chasqui-metrics.7")
    for method, path in table("broker/routes.def", r'^ROUTE\(\w+, "(\w+)", "([^"]+)"'):
        assert f"\\fB{method} {path}\\fR" in words("chasqui-api.7")


# --- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["broker", "dispatcher", "healthd"])
def test_the_sample_configuration_is_good(role, tmp_path):
    conf = tmp_path / "chasqui.conf"
    sample = (MADE / "chasqui.conf").read_text()
    for text in (sample, re.sub(r"^    # (\w+ = )", r"    \1", sample, flags=re.M)):
        conf.write_text(text)
        done = subprocess.run([program(f"chasqui-{role}"), "-c", conf, "--check"], env=clean_env(), capture_output=True, text=True, check=False)
        assert f"{conf}: the configuration is good" in done.stdout, done.stderr  # whether there is a database here is another matter
    assert re.findall(r"^    (\w+) = ", conf.read_text(), re.M)


# --- completion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("chasqui ", {"worker", "stats", "jobs"}), ("chasqui wor", {"worker"}), ("chasqui worker ", {"add", "list", "drain", "resume", "remove"}),
     ("chasqui worker add --", {"--base-url", "--viewer-url", "--capacity", "--json"}), ("chasqui stats --w", {"--watch"}),
     ("chasqui -c /x queue pau", {"pause"}), ("chasqui --json sessions list --st", {"--state"}), ("chasqui worker set r1 --cap", {"--capacity"}),
     ("chasqui jobs list --status f", {"failed"}), ("chasqui sessions list --state ", {"live", "lost"}), ("chasqui errors --since ", {"24h"}),
     ("chasqui names wo", {"workers"})],
)  # fmt: skip
def test_completion(words, wanted):
    script = f"""
        source {MADE / "completion"}
        read -ra COMP_WORDS <<< '{words}'
        [[ '{words}' == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _chasqui; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    told = set(done.stdout.split())
    assert wanted <= told and all(word.startswith(words.split(" ")[-1]) for word in told)


def test_completion_of_names_obeys_none_of_them(tmp_path):
    """A session's id is a robot's word: it is compared, and never expanded by the shell."""
    command = tmp_path / "chasqui"
    command.write_text(f"""#!/bin/sh
        [ "$*" = "-c /x names sessions" ] || exit 0
        printf '%s\\n' 'S-1' 'S-2' 'T-3' '$(touch {tmp_path}/owned)' 'S-`touch {tmp_path}/owned`' 'S-*'
    """)
    command.chmod(0o755)
    script = f"""
        source {MADE / "completion"}
        COMP_WORDS=({command} -c /x sessions close S-) COMP_CWORD=5
        _chasqui; printf '%s\\n' "${{COMPREPLY[@]}}"
        COMP_WORDS=({command} -c /x sessions close '') COMP_CWORD=5
        _chasqui; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split() == ["S-1", "S-2", "S-1", "S-2", "T-3"] and not done.stderr and not (tmp_path / "owned").exists(), done


# --- Prometheus, Grafana -------------------------------------------------------------------------------------------


def known_metrics():
    names = set()
    for kind, name, rest in table("common/stat.def", r"^(STAT|HISTOGRAM|FAMILY)\([^,]+, (\w+),(.*)$"):
        is_histogram = kind == "HISTOGRAM" or "STAT_HISTOGRAM" in rest
        names |= {f"chasqui_{name}{end}" for end in (("_bucket", "_sum", "_count") if is_histogram else ("",))}
    return names


def test_the_alerts_are_good_rules_of_metrics_that_exist():
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: make deps"
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout and not done.stderr, done.stdout + done.stderr
    used = set(re.findall(r"\bchasqui_\w+", RULES.read_text()))
    assert len(used) > 15 and used <= known_metrics(), used - known_metrics()


def test_each_alert_says_what_to_do():
    """Its runbook link is a heading that is there; no heading is left behind."""
    rules = RULES.read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    links = re.findall(r"runbook: docs/alerts.md#(\w+)", rules)
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.M)
    assert [name.lower() for name in alerts] == links and headings == alerts


VERDICT, WANTED = 'chasqui_robot_verdict{healthd="h",robot="r1"}', 'chasqui_robot_wanted{robot="r1"}'


def test_a_robot_that_is_drained_may_be_down(tmp_path):
    """By promtool's own judge: down and active is an alert, down and draining none."""
    cases = []
    for wanted, alerts in ((2, True), (1, False), (0, False)):
        found = [{"exp_labels": {"severity": "warning", "robot": "r1"}}] if alerts else []
        cases.append({"interval": "30s", "input_series": [{"series": VERDICT, "values": "0x20"}, {"series": WANTED, "values": f"{wanted}x20"}],
                      "promql_expr_test": [{"expr": "max by (robot) (chasqui_robot_verdict) == 0 unless on (robot) (max by (robot) (chasqui_robot_wanted) < 2)", "eval_time": "5m",
                                            "exp_samples": [{"labels": '{robot="r1"}', "value": 0}] if found else []}]})  # fmt: skip
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": cases}))
    done = subprocess.run([shutil.which("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cases[0]["promql_expr_test"][0]["expr"] in RULES.read_text()


def test_the_dashboard_is_json_of_metrics_that_exist():
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = set(re.findall(r"\bchasqui_\w+", " ".join(expressions)))
    assert len(used) > 25 and used <= known_metrics(), used - known_metrics()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and all(panel["title"] for panel in dashboard["panels"])
    promtool = shutil.which("promtool")
    for expression in expressions:
        done = subprocess.run([promtool, "check", "rules", "/dev/stdin"], capture_output=True, text=True, check=False,
                              input=json.dumps({"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": expression}]}]}))  # fmt: skip
        assert done.returncode == 0, f"{expression}: {done.stdout}{done.stderr}"


# --- systemd, install --------------------------------------------------------------------------------------------


def test_install_puts_everything_in_its_place(tmp_path):
    make = ["make", "-s", "-o", "all", f"BUILD={program('chasqui').parent}", f"DESTDIR={tmp_path}", "PREFIX=/usr", "install"]
    if program("chasqui").parent == ROOT / "build":
        subprocess.run(make, cwd=ROOT, check=True, capture_output=True, timeout=300)
        there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert {f"usr/share/man/man{page[-1]}/{page}" for page in PAGES} <= there
        assert {"usr/bin/chasqui", "usr/share/bash-completion/completions/chasqui", "usr/share/chasqui/chasqui.conf",
                "usr/share/chasqui/chasqui.rules.yml", "usr/share/chasqui/chasqui.json"} <= there  # fmt: skip
        unit = (tmp_path / "usr/lib/systemd/system/chasqui-broker.service").read_text()
        assert "ExecStart=/usr/bin/chasqui-broker -c /etc/chasqui/chasqui.conf\n" in unit


@pytest.mark.parametrize("role", ["broker", "dispatcher", "healthd"])
def test_units(role):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(ROOT / f"packaging/systemd/chasqui-{role}.service")
    service = dict(unit["Service"])
    assert service["User"] == f"chasqui-{role}" and service["ExecStart"].startswith(f"@BIN@/chasqui-{role} ")
    assert f"u chasqui-{role} " in (ROOT / "packaging/systemd/chasqui.sysusers").read_text()
    for key, value in {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes", "CapabilityBoundingSet": ""}.items():
        assert service[key] == value
    assert ("LoadCredential" in service) == (role == "dispatcher")  # nobody else opens the database or credentials


def test_check_names_everything_that_is_wrong(tmp_path):
    """In one run: keys that are not there, an address that this host does not have, a database that does not answer."""
    subprocess.run([program("chasqui"), "keys", "init", tmp_path / "curve"], check=True, capture_output=True, env=clean_env())
    for name in ("healthd.key", "healthd.key_secret"):
        (tmp_path / "curve" / name).unlink()
    conf = tmp_path / "chasqui.conf"
    conf.write_text(f"""
broker
    http = "192.0.2.1:8080"
    ops = "127.0.0.1:0"
    bind = "tcp://127.0.0.1:*"
healthd
    bind = "tcp://192.0.2.1:5571"
    control = "tcp://127.0.0.1:*"
db
    host = "127.0.0.1:1"
curve
    dir = "{tmp_path}/curve"
""")
    for role, named in {"broker": "broker.http: 192.0.2.1:8080 Cannot assign", "healthd": "healthd.bind: tcp://192.0.2.1:5571 Cannot assign",
                        "dispatcher": "database: chasqui at 127.0.0.1:1: "}.items():  # fmt: skip
        done = subprocess.run([program(f"chasqui-{role}"), "-c", conf, "--check"], capture_output=True, text=True, check=False, env=clean_env(), timeout=100)
        assert done.returncode == 1 and "the configuration is good" in done.stdout, done
        assert named in done.stderr and "curve.dir: " in done.stderr and "healthd.key" in done.stderr, done.stderr


def test_keys_for_units_need_their_users(tmp_path):
    """Where the units' users are not there nothing is made."""
    try:
        pwd.getpwnam("chasqui-broker")
    except KeyError:
        done = subprocess.run([program("chasqui"), "keys", "init", tmp_path / "curve", "--owner"], check=False, capture_output=True, text=True, env=clean_env())
        assert done.returncode == 1 and "there is no user chasqui-broker" in done.stderr and not (tmp_path / "curve").exists()


# --- several hosts ---------------------------------------------------------------------------------------------------


def files_of(page):
    """The configuration files that a page shows, a host each."""
    return re.findall(r"^## Host \w: [^\n]*\n.*?^```\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def test_the_files_of_several_hosts_are_good(tmp_path):
    """As they stand in docs/two-hosts.md and docs/several-hosts.md, for every program; only the paths of keys are ours."""
    files, [first] = files_of("docs/two-hosts.md"), files_of("docs/several-hosts.md")
    assert len(files) == 2
    own = re.compile(r'^( +(?:http|ops|bind|control|api_url|ops_url) = "[^",]*10\.0\.0\.)1(:\d+")$', re.M)
    assert len(own.findall(first)) == 7
    files.append(own.sub(r"\g<1>2\g<2>", first))
    subprocess.run([program("chasqui"), "keys", "init", tmp_path / "curve"], check=True, capture_output=True, env=clean_env())
    (tmp_path / "db.password").write_text("secret\n")
    (tmp_path / "db.password").chmod(0o400)
    for text in files:
        conf = tmp_path / "chasqui.conf"
        conf.write_text(text.replace("/etc/chasqui", str(tmp_path)))
        for role in ("broker", "dispatcher", "healthd"):
            done = subprocess.run([program(f"chasqui-{role}"), "-c", conf, "--check"], capture_output=True, text=True, check=False, env=clean_env(), timeout=60)
            assert "the configuration is good" in done.stdout and f"the keys of {role} in {tmp_path}/curve can be read" in done.stdout, (role, done.stderr)
