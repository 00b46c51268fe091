# SPDX-License-Identifier: MIT
"""A copy of the Laravel application in tests/laravel, with clients/laravel installed as Composer would: discovered by Laravel from
vendor/composer/installed.json, its classes found by PSR-4.

Owns the copy's directory and the server that start() brings up. The application's database is one that a test made.
"""

import json
import os
import shutil
import subprocess

from .http import Client
from .ports import free_port
from .process import Process, clean_env
from .system import ROOT
from .wait import wait_until

APPLICATION = ROOT / "tests/laravel"
PACKAGE = ROOT / "clients/laravel"
FRAMEWORK = "/usr/share/php/Illuminate/autoload.php"
RUN_S = 120
AUTOLOAD = """
// What Composer would write into vendor/autoload.php.
spl_autoload_register(function ($c) {{
    foreach (json_decode({classes}, true) as $prefix => $dir) {{
        $f = $dir . strtr(substr($c, strlen($prefix)), '\\\\', '/') . '.php';
        if (strpos($c, $prefix) === 0 && is_file($f)) {{ require $f; return; }}
    }}
}});
"""


class Laravel:
    def __init__(self, directory, database, **env):
        """Copies it; nothing is run. `env`: what its .env would hold."""
        self.directory = directory / "laravel"
        shutil.copytree(APPLICATION, self.directory)
        composer = json.loads((PACKAGE / "composer.json").read_text())
        installed = self.directory / "vendor/composer/installed.json"
        installed.parent.mkdir(parents=True)
        installed.write_text(json.dumps({"packages": [composer]}))
        self.change("bootstrap/autoload.php", "'Chasqui\\\\Laravel\\\\' => '/chasqui-client/src/', ", "")
        classes = {prefix: f"{PACKAGE}/{path}" for part in ("autoload", "autoload-dev") for prefix, path in composer[part]["psr-4"].items()}
        with open(self.directory / "bootstrap/autoload.php", "a", encoding="utf-8") as autoload:
            autoload.write(AUTOLOAD.format(classes=json.dumps(json.dumps(classes))))
        self.env = {
            "DB_SOCKET": database.socket, "DB_DATABASE": database.name, "DB_USERNAME": database.user, "DB_PASSWORD": database.password,
            "APP_ENV": "testing", "APP_DEBUG": "true", **env,
        }  # fmt: skip
        self.process = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def change(self, path, old, new):
        text = (self.directory / path).read_text()
        assert old in text, f"{path} has no {old}"
        (self.directory / path).write_text(text.replace(old, new))

    def replace(self, *names):
        """A line of config/chasqui.php for each of the application's classes that Chasqui takes the place of."""
        self.change("config/chasqui.php", "return [", f"return ['replace' => [{' '.join(map(replacement, names))}], ")

    def run(self, *argv, check=True):
        """A program in the application's directory; answers the finished process."""
        done = subprocess.run([*map(str, argv)], cwd=self.directory, env=clean_env(self.env), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=RUN_S, check=False)  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}{self.log_tail()}"
        return done

    def artisan(self, *words, **more):
        return self.run("php", "artisan", "--no-ansi", *words, **more)

    def migrate(self):
        """Tables of its own, those of the robots among them."""
        self.artisan("migrate", "--force")
        self.artisan("migrate", "--force", "--path=database/migrations_robot")

    def fill(self, companies):
        """That many companies; answers {company: bearer token of its user}."""
        told = self.artisan("lab:fill", "--rows=0", f"--companies={companies}").stdout
        return {int(line.split()[0]): line.split()[1] for line in told.splitlines() if "|" in line}

    def phpunit(self, directory, **env):
        """The package's tests, with this application."""
        self.env.update({"LARAVEL_APP": str(self.directory), **env})
        autoload = self.directory / "bootstrap/autoload.php"
        return self.run("phpunit", "-c", PACKAGE / "phpunit.xml.dist", "--bootstrap", autoload, "--do-not-cache-result", directory)

    def start(self):
        argv = ["php", "-S", f"127.0.0.1:{self.port}", "-t", "public", "public/index.php"]
        self.process = Process("laravel", argv, self.directory / "server.log", env=self.env, cwd=self.directory).start()
        wait_until(lambda: self.process.alive() and Client(self.url).get("/api/v1/app/me").status, 60, "Laravel answers")
        return self

    def stop(self):
        if self.process:
            self.process.stop()

    def client(self, token):
        return Client(self.url, {"Authorization": f"Bearer {token}"}, timeout=150)

    def log_tail(self):
        log = self.directory / "storage/logs/laravel.log"
        return log.read_text()[-4000:] if log.exists() else ""


def replacement(name):
    """The line of config/chasqui.php for one of the application's services."""
    return f"App\\Services\\{name}::class => Chasqui\\Laravel\\DropIn\\{name}::class,"


def missing():
    """Why the application cannot be run here, or None."""
    return None if os.path.exists(FRAMEWORK) else "php-laravel-framework is not installed"
