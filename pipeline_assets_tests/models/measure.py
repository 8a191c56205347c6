"""How well the detector does: `python -m pipeline_assets_tests.models.measure [SEEDS]`, or with an option.

What belongs here: the numbers of docs/model.md, made again. What does not: tests. With `--nab` it writes the
scores of each file of a copy of the Numenta Anomaly Benchmark to OUT, as `category/file.csv` with a column
`anomaly_score`, for a scorer to read. With `--agents` it tells how many bots are known, and how many browsers
called bots, among the user agents in a copy of the test fixtures of Matomo's Device Detector (its Python port
has them, too). With `--speed` it tells how many CPU seconds scoring so many busy sites and days takes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.kernel.user_agents import look_up
from pipeline_assets.models.detector import HISTORY_DAYS, Expectations, slots_a_day
from pipeline_assets.models.scoring import score_minutes, sites_by_the_minute
from pipeline_assets.settings import Settings
from pipeline_assets_tests.models import kpi

Array = npt.NDArray[np.float64]

THRESHOLD: float = Settings.model_fields["anomaly_threshold"].default
# The plain score is shown at whichever of these does best, which it could not know beforehand.
PLAIN_THRESHOLDS = (3.0, 4.0, 5.0, 5.5, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0)
# Of one anomaly the benchmark wants one detection: what is not above all of the half day before is none.
_QUIET_MINUTES = 720


def scores_of(values: Array, step_minutes: int, floor: float) -> Array:
    """The size of the score of every slot of a series, day by day; 0 where there is none."""
    slots = slots_a_day(step_minutes)
    days = -(-len(values) // slots)
    padded = np.full((HISTORY_DAYS + days) * slots, np.nan)
    padded[HISTORY_DAYS * slots :][: len(values)] = values
    expectations = Expectations.of(padded[None], step_minutes)
    floors = np.full((1, 1), floor)
    found: list[Array] = [expectations.score(HISTORY_DAYS + day, [0], floors).score[0] for day in range(days)]
    scores: Array = np.nan_to_num(np.abs(np.concatenate(found)[: len(values)]))
    return scores


def measure_traffic(seeds: range) -> tuple[pl.DataFrame, dict[float, float]]:
    """By kind of traffic: F1 of events, and false alarms a week on series without incidents.

    With it the F1, over all kinds, of a plain seasonal z by its threshold.
    """
    rows = []
    plain = {threshold: np.zeros(3, int) for threshold in PLAIN_THRESHOLDS}
    for kind in kpi.KINDS:
        ours, clean = np.zeros(3, int), 0
        for seed in seeds:
            for incidents in (True, False):
                truth = kpi.traffic(kind, seed, incidents=incidents)
                found = kpi.judged(scores_of(2 * np.sqrt(truth.counts + 3 / 8), 1, 1.0) >= THRESHOLD, truth)
                if incidents:
                    ours += found
                    distance = np.abs(kpi.seasonal_z(truth.counts))
                    for threshold, counts in plain.items():
                        counts += kpi.judged(distance >= threshold, truth)
                else:
                    clean += found[2]
        weeks = len(seeds) * (kpi.DAYS - kpi.FIRST_DAY) / 7
        rows.append((kind, *ours.tolist(), clean / weeks))
    columns = ["kind", "found", "incidents", "wrong", "false_a_week"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table, {threshold: kpi.event_f1(*counts) for threshold, counts in plain.items()}


def write_nab(folder: Path, out: Path) -> None:
    """Scores of every file that `combined_windows.json` names."""
    for name in json.loads((folder / "combined_windows.json").read_text()):
        rows = pl.read_csv(folder / name, try_parse_dates=True)
        minute = rows["timestamp"].dt.epoch("s").to_numpy() / 60
        step = round(float(np.median(np.diff(minute))))
        place = np.round((minute - minute[0]) / step).astype(int)
        values = np.full(place.max() + 1, np.nan)
        values[place] = rows["value"].to_numpy()
        scores = pl.Series(scores_of(values, step, 0.0))
        before = scores.rolling_max(_QUIET_MINUTES // step, min_samples=1).shift(1).fill_null(0)
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        told = np.where((scores > before).to_numpy(), scores.to_numpy(), 0.0)
        pl.DataFrame({"anomaly_score": told[place]}).write_csv(path)


def measure_agents(folder: Path) -> pl.DataFrame:
    """How many of the user agents of bots, of browsers and of all other clients are called bots.

    Of the bots that are no instance of crawler-user-agents one half was looked at when rules were made.
    """
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]

    known = [text for entry in CRAWLER_USER_AGENTS_DATA for text in entry["instances"]]
    found = []
    for path in folder.rglob("*.yml"):
        texts = re.findall(r"^\s+user_agent: *(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        found += [("bots" in path.name, text.strip().strip("'\"")) for text in texts]
    agents = pl.DataFrame(found, schema=["is_listed", "user_agent"], orient="row").unique("user_agent")
    kind = (
        pl.when("is_listed")
        .then(pl.format("bots, {}", "half"))
        .when(pl.col("user_agent").str.contains("^(?:Mozilla|Opera)/"))
        .then(pl.lit("browsers"))
        .otherwise(pl.lit("others"))
    )
    seen = [hashlib.sha256(text.encode()).digest()[0] % 2 == 0 for text in agents["user_agent"]]
    half = (
        pl.when(pl.col("user_agent").is_in(known))
        .then(pl.lit("of crawler-user-agents"))
        .when(pl.Series(seen))
        .then(pl.lit("others, the half that was looked at"))
        .otherwise(pl.lit("others, the half that was not"))
    )
    asked = agents.with_columns(half=half).join(look_up(agents["user_agent"]), on="user_agent")
    return asked.group_by(kind=kind).agg(pl.len(), called_bots=pl.col("is_bot").mean()).sort("kind")


def measure_speed(sites: int, days: int) -> float:
    """CPU seconds of scoring so many days by the minute, of sites with some 30 to 300 requests a minute."""
    draw, first = np.random.default_rng(1), date(2024, 1, 1)
    dates = [first + timedelta(days=day) for day in range(HISTORY_DAYS + days)]
    parts = []
    for site in range(sites):
        mean = 30 * (1 + site % 10) * (1 + 0.6 * np.sin(np.arange(1440) / 720 * np.pi))
        for status, share in (("2xx", 0.9), ("3xx", 0.05), ("4xx", 0.04), ("5xx", 0.01)):
            for is_bot in (True, False):
                hits = draw.poisson(mean * share / 2, (len(dates), 1440)).ravel()
                part = pl.DataFrame({"event_date": dates}).join(
                    pl.DataFrame({"slot": pl.int_range(1440, dtype=pl.Int32, eager=True)}), how="cross"
                )
                what = {"site": f"site{site}", "status_class": status, "is_bot": is_bot}
                part = part.with_columns(pl.Series("hits", hits), **{k: pl.lit(v) for k, v in what.items()})
                parts.append(part.filter(pl.col("hits") > 0))
    rows = pl.concat(parts).with_columns(
        hour=(pl.col("slot") // 60).cast(pl.Int8), minute=pl.col("slot") % 60, bytes=pl.col("hits") * 1000
    )
    by_hour = rows.group_by("event_date", "hour", "site").agg(observed=pl.col("hits").sum().cast(pl.Float64))
    in_all = by_hour.group_by("event_date", "hour").agg(pl.col("observed").sum())
    values = pl.concat([by_hour, in_all], how="diagonal").with_columns(
        series=pl.lit("hits"), is_complete=pl.lit(value=True)
    )
    visits = rows.group_by("event_date", "slot", "site").agg(visits=pl.col("hits").sum() // 8)
    wanted = dates[HISTORY_DAYS:]
    began = time.process_time()
    score_minutes(rows, visits, values, sites_by_the_minute(values, wanted), THRESHOLD)
    return time.process_time() - began


def main() -> None:
    """Print the table, and write the benchmark's scores where a copy of it is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=3)
    parser.add_argument("--nab", type=Path, nargs=2, metavar=("FOLDER", "OUT"))
    parser.add_argument("--agents", type=Path, metavar="FOLDER")
    parser.add_argument("--speed", type=int, nargs=2, metavar=("SITES", "DAYS"))
    chosen = parser.parse_args()
    if chosen.speed:
        print(f"{measure_speed(*chosen.speed):.2f} s")
        return
    if chosen.agents:
        print(measure_agents(chosen.agents))
        return
    if chosen.nab:
        write_nab(*chosen.nab)
        return
    table, plain = measure_traffic(range(1, 1 + chosen.seeds))
    all_found = table.select(pl.col("found", "incidents", "wrong").sum()).row(0)
    best = max(plain, key=lambda threshold: plain[threshold])
    with pl.Config(tbl_rows=-1, tbl_cols=-1):
        print(table)
    print(
        f"F1 {kpi.event_f1(*all_found):.2f}; plain seasonal z {plain[best]:.2f}, at its best threshold {best}"
    )
    print(f"false alarms a week on clean series {table['false_a_week'].sum() / table.height:.2f}")


if __name__ == "__main__":
    main()
