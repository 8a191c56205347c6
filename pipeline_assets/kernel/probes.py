"""Paths that scanners ask for: secrets, repositories, shells, consoles and routers.

What belongs here: which paths those are, by distinct value. What does not: what is made of a client that asks
for them (`models.clients`).

Some exist on no site that is run with care, and whoever asks for one is looking for holes. Others are
ordinary where the software runs that they belong to: they count only where the site has refused them or has
no such page, so that those who write a weblog are no scanners on it.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_ALWAYS: Final = (
    r"(?i)/\.(?:env|git|svn|hg|aws|ssh|vscode|ds_store|htpasswd|htaccess)|/wlwmanifest|/wp-config|phpunit"
    r"|/eval-stdin|/phpinfo|/boaform|/hnap1|/dana-na|/geoserver|/\+cscoe\+|/debug/default|/_ignition|/evox/"
    r"|/nmaplowercheck|/etc/passwd|\.\./|%2e%2e|/setup\.cgi|/login\.action|/webui|/druid/|/nacos|/struts"
    r"|/ab2[gh]|/teorema|/wp-content/(?:plugins|themes)/[^/]+/readme\.txt"
)
_UNLESS_SERVED: Final = (
    r"(?i)/wp-(?:login|admin|content/plugins)|/xmlrpc\.php|phpmyadmin|/pma/|/adminer|/cgi-bin/|/actuator|/solr/"
    r"|/jenkins|/manager/html|/owa/|/ecp/|/autodiscover|/vpn/|/remote/login|/server-status|/telescope|/console/"
    r"|/\.well-known/security|/sdk$|\.(?:bak|sql|old|swp)$|/shell|/config\.json|/v2/_catalog"
)


def probes_among(paths: pl.Series) -> pl.DataFrame:
    """For each path (none of them null): is it a probe (`always`), and is it one `unless_served`."""
    return paths.to_frame("path").select(
        always=pl.col("path").str.contains(_ALWAYS), unless_served=pl.col("path").str.contains(_UNLESS_SERVED)
    )
