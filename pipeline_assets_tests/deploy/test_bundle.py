"""The bundle says what Databricks understands, and its tasks are commands that the wheel has."""

from __future__ import annotations

import copy
import importlib.util
import re
import shlex
import zipfile
from collections.abc import Iterator
from functools import partial
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from databricks.sdk.service import jobs

from pipeline_assets import job as plain_job
from pipeline_assets.settings import Settings, project_root
from pipeline_assets.versions import sources_digest
from pipeline_assets_tests.deploy import bundle as bundles
from pipeline_assets_tests.wheels import InstalledWheel

ROOT = project_root() / "deploy" / "databricks"
GIVEN = {"storage_account": "myaccount", "notify": ["ops@example.org"], "service_principal": "0-1-2"}
TARGETS = ("dev", "prod")
# What the CLI reads beside the settings of a job (its reference of the configuration, `jobs`).
BUNDLE_ONLY = {"permissions"}
TOP_LEVEL = {
    "bundle",
    "include",
    "sync",
    "artifacts",
    "workspace",
    "variables",
    "targets",
    "resources",
    "run_as",
}


@pytest.fixture(params=TARGETS)
def bundle(request: pytest.FixtureRequest) -> dict[str, Any]:
    return bundles.load(ROOT, request.param, GIVEN)


def declared_jobs(bundle: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = bundle["resources"]["jobs"]
    return found


def tasks(bundle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for declared in declared_jobs(bundle).values():
        yield from declared["tasks"]


def _default(defaults: dict[str, str], match: re.Match[str]) -> str:
    return defaults[match[1]]


def judged(declared: dict[str, Any]) -> list[str]:
    settings = {name: value for name, value in declared.items() if name not in BUNDLE_ONLY}
    wrong = bundles.problems(jobs.JobSettings, settings)
    for permission in declared["permissions"]:
        said = {"permission_level" if name == "level" else name: value for name, value in permission.items()}
        wrong += bundles.problems(jobs.JobAccessControlRequest, said, "permissions")
    # What the SDK doesn't know it drops.
    return wrong + (
        [] if jobs.JobSettings.from_dict(settings).as_dict() == settings else ["changed on its way"]
    )


def test_the_sdk_knows_every_word_of_the_jobs(bundle: dict[str, Any]) -> None:
    assert set(declared_jobs(bundle)) == {"daily", "weekly"}
    for declared in declared_jobs(bundle).values():
        assert judged(declared) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("task",), 1),
        (("tasks", 0, "max_retry"), 1),
        (("tasks", 0, "max_retries"), "one"),
        (("schedule", "pause_status"), "ON"),
        (("job_clusters", 0, "new_cluster", "azure_attributes", "availability"), "SPOT"),
        (("job_clusters", 0, "new_cluster", "spark_env_vars"), ["A=b"]),
        (("permissions", 0, "level"), "CAN_RUN"),
    ],
)
def test_the_judge_sees_what_is_wrong(path: tuple[str | int, ...], value: object) -> None:
    declared: Any = copy.deepcopy(declared_jobs(bundles.load(ROOT, "prod", GIVEN))["daily"])
    place = declared
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert judged(declared) != []


def test_a_reference_to_nothing_is_seen() -> None:
    with pytest.raises(KeyError, match="default"):
        bundles.load(ROOT, "dev", {})


def test_top_level_words_and_targets(bundle: dict[str, Any]) -> None:
    assert bundle.keys() <= TOP_LEVEL
    (artifact,) = bundle["artifacts"].values()
    assert artifact.keys() <= {"type", "path", "build", "files"} and artifact["type"] == "whl"
    assert (
        bundle["targets"]["dev"]["mode"] == "development"
        and bundle["targets"]["prod"]["mode"] == "production"
    )


def test_the_job_goes_through_the_layers_at_two_and_the_other_weekly(bundle: dict[str, Any]) -> None:
    daily, weekly = declared_jobs(bundle)["daily"], declared_jobs(bundle)["weekly"]
    # Quartz: seconds, minutes, hours, day of the month, month, day of the week.
    assert daily["schedule"]["quartz_cron_expression"] == "0 0 2 * * ?"
    assert weekly["schedule"]["quartz_cron_expression"] == "0 0 4 ? * SUN"
    order = [task["task_key"] for task in daily["tasks"]]
    assert order == ["bronze", "silver", "gold", "model"]
    before = [[one["task_key"] for one in task.get("depends_on", [])] for task in daily["tasks"]]
    assert before == [[], ["bronze"], ["silver"], ["gold"]]
    # The task that nothing follows says whether all is well, and the job is what its last task is.
    assert ["--more-follows" in task["python_wheel_task"]["parameters"] for task in daily["tasks"]] == [
        *(True, True, True),
        False,
    ]


def test_every_task_is_a_command_that_the_package_has(bundle: dict[str, Any]) -> None:
    for declared in declared_jobs(bundle).values():
        defaults = {one["name"]: one["default"] for one in declared.get("parameters", [])}
        for task in declared["tasks"]:
            said = [
                re.sub(r"\{\{job\.parameters\.(\w+)\}\}", partial(_default, defaults), parameter)
                for parameter in task["python_wheel_task"]["parameters"]
            ]
            parsed = plain_job._command.make_context("job", said).params
            assert plain_job._steps_of(parsed["steps"])
            assert task["job_cluster_key"] in [one["job_cluster_key"] for one in declared["job_clusters"]]
            assert task["libraries"] == [{"whl": "../dist/*.whl"}]
            assert (ROOT / "resources" / "../dist").resolve() == ROOT / shlex.split(
                bundle["artifacts"]["pipeline_assets"]["build"]
            )[-1]


def test_secrets_are_references_and_the_settings_are_settings(bundle: dict[str, Any]) -> None:
    aliases = {str(one.validation_alias) for one in Settings.model_fields.values() if one.validation_alias}
    known = aliases | {f"PIPELINE_{name.upper()}" for name in Settings.model_fields}
    secret = {
        str(one.validation_alias or name)
        for name, one in Settings.model_fields.items()
        if "Secret" in str(one.annotation)
    }
    for declared in declared_jobs(bundle).values():
        for cluster in declared["job_clusters"]:
            variables = cluster["new_cluster"]["spark_env_vars"]
            assert variables.keys() <= known
            assert variables["PIPELINE_STORAGE"] == "az://myaccount"
            for name, value in variables.items():
                assert name not in secret or re.fullmatch(r"\{\{secrets/[\w-]+/[\w-]+\}\}", value)


def test_the_driver_is_no_spot_machine_and_the_cluster_is_one_users(bundle: dict[str, Any]) -> None:
    for declared in declared_jobs(bundle).values():
        for cluster in declared["job_clusters"]:
            new = cluster["new_cluster"]
            assert new["azure_attributes"]["first_on_demand"] == 1
            assert new["data_security_mode"] == "SINGLE_USER"
            assert new["autoscale"]["min_workers"] < new["autoscale"]["max_workers"]


@pytest.fixture(scope="module")
def build_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_wheel", ROOT / "build_wheel.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_wheel_is_this_code_without_the_orchestrator(
    build_wheel: ModuleType, installed_wheel: InstalledWheel, tmp_path: Path
) -> None:
    target = tmp_path / "dist"
    target.mkdir()
    (target / "pipeline_assets-0.0.1-py3-none-any.whl").touch()
    wheel: Path = build_wheel.build(target, "--no-build-isolation")
    assert [wheel] == list(target.iterdir())
    checkout = sources_digest(project_root() / "pipeline_assets")
    assert sources_digest(zipfile.Path(wheel, "pipeline_assets/")) == checkout
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    (found,) = Distribution.discover(path=[str(tmp_path / "unpacked")])
    for task in tasks(bundles.load(ROOT, "prod", GIVEN)):
        named = task["python_wheel_task"]
        assert named["package_name"] == found.name.replace("-", "_")
        (script,) = found.entry_points.select(group="console_scripts", name=named["entry_point"])
        assert script.load() is plain_job.main
    needed = [one for one in found.requires or [] if "extra ==" not in one]
    assert all("==" in one for one in needed)
    names = {re.split(r"[^\w-]", one)[0] for one in needed}
    assert {"polars", "deltalake", "numpy", "pandas", "dagster-pipes"} <= names
    assert not {name for name in names if name.startswith("dagster") and name != "dagster-pipes"}
    assert not {"pyspark", "altair", "apprise"} & names
    # What it leaves out are names that the package has.
    (usual,) = Distribution.discover(path=[str(installed_wheel.target)], name="pipeline-assets")
    assert {re.split(r"[^\w-]", one)[0] for one in usual.requires or []} >= build_wheel.LEFT_OUT
