"""Settings of this process for another one: which variables to give it, and reading them there.

What belongs here: telling what may be shown from what opens the storage, and making settings of what was
given. What does not: the settings themselves (`settings`), and how variables travel (`compute`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr, ValidationError

from pipeline_assets.settings import Settings, SettingsError, problems_of, variable_of

# A service principal, as Azure's own libraries look for it.
IDENTITY_VARIABLES: Final = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET")


def public_variables(settings: Settings) -> dict[str, str]:
    """The variables that make these settings elsewhere, but for those that hold a secret."""
    given = {"storage": settings.storage if settings.azure else str(settings.root)}
    for name, setting in Settings.model_fields.items():
        value = getattr(settings, name)
        is_secret = isinstance(value, SecretStr)
        if name not in given and not is_secret and value is not None and value != setting.default:
            given[name] = str(value)
    return {variable_of(name): value for name, value in given.items()}


def storage_secrets(settings: Settings) -> dict[str, str]:
    """The variables that hold what opens the storage, for a process that lacks them. Never print them."""
    if settings.azure is None:
        return {}
    if settings.azure.kind == "identity":
        return {name: os.environ[name] for name in IDENTITY_VARIABLES if name in os.environ}
    names = ("azure_connection_string", "azure_key", "azure_sas_token")
    given = {name: getattr(settings, name) for name in names}
    return {variable_of(name): secret.get_secret_value() for name, secret in given.items() if secret}


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Settings of which these variables are given, and the others, secrets among them, are the environment's.

    Raises `SettingsError` where one is wrong.
    """
    names = {variable_of(name): name for name in Settings.model_fields}
    given = {names[name]: value for name, value in variables.items() if name in names}
    try:
        return Settings(**given)  # type: ignore[arg-type] # texts, as the environment has them
    except ValidationError as error:
        raise SettingsError(problems_of(error)) from None
