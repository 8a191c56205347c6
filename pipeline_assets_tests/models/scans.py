"""Made-up scans: the paths that four kinds of scanners ask a site for, in an order drawn from a seed.

What belongs here: word lists of our own, put together as such tools put them together. What does not: what a
site answers, and who must be found (`test_clients`).
"""

from __future__ import annotations

import random

_FOLDERS = (
    *(
        "admin",
        "old",
        "backup",
        "test",
        "dev",
        "api",
        "app",
        "data",
        "db",
        "files",
        "images",
        "include",
        "lib",
    ),
    *(
        "logs",
        "mail",
        "media",
        "news",
        "private",
        "shop",
        "site",
        "sql",
        "stats",
        "temp",
        "upload",
        "user",
        "web",
    ),
)
_NAMES = ("index", "login", "config", "setup", "install", "info", "status", "main", "panel", "dump", "readme")
_ENDINGS = ("", ".php", ".asp", ".jsp", ".bak", ".zip", ".txt", ".html")
_PLUGINS = (
    "forms",
    "gallery",
    "slider",
    "cache",
    "seo",
    "shop",
    "events",
    "backup",
    "forum",
    "maps",
    "popup",
)
_SECRETS = (
    *(
        "/.env",
        "/.git/config",
        "/.git/HEAD",
        "/.svn/entries",
        "/.aws/credentials",
        "/.htpasswd",
        "/phpinfo.php",
    ),
    *("/server-status", "/cgi-bin/test.cgi", "/vendor/phpunit/src/Util/PHP/eval-stdin.php", "/actuator/env"),
    *("/wp-config.php.bak", "/etc/passwd", "/HNAP1", "/boaform/admin/formLogin", "/solr/admin/info/system"),
)


def folders(seed: int) -> list[str]:
    """As tools that guess names of folders and files do."""
    draw = random.Random(seed)
    paths = [f"/{folder}/{name}{ending}" for folder in _FOLDERS for name in _NAMES for ending in _ENDINGS]
    return draw.sample(paths, 400)


def weblog(seed: int) -> list[str]:
    """As tools that look for plugins of a weblog, and for its users, do."""
    draw = random.Random(seed)
    paths = [f"/wp-content/plugins/{name}-{number}/readme.txt" for name in _PLUGINS for number in range(30)]
    users = [f"/?author={number}" for number in range(1, 11)]
    return ["/", "/wp-login.php", "/xmlrpc.php", *users, *draw.sample(paths, 300)]


def holes(seed: int) -> list[str]:
    """As tools that try known holes among ordinary names do."""
    draw = random.Random(seed)
    found = [*folders(seed)[:300], *_SECRETS * 2]
    draw.shuffle(found)
    return found


def secrets(seed: int) -> list[str]:
    """As those do that only look for a few secrets, slowly."""
    return random.Random(seed).sample(_SECRETS, 8)


SCANS = {"folders": folders, "weblog": weblog, "holes": holes, "secrets": secrets}
