"""How much a refresh would read: what decides where a delivery is made.

What belongs here: counting bytes. What does not: comparing them (`workers`, `databricks.engine`).
"""

from __future__ import annotations

from pipeline_assets.compute.bronze import changed_files, landed_files
from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage.manifests import Layer, read_manifest
from pipeline_assets.storage.units import Unit


def bytes_to_read(context: Context, layer: Layer, unit: Unit, *, reuse: bool) -> int:
    """Landed bytes, compressed or not as they lie, of the files whose rows a refresh would make."""
    bronze = read_manifest(context.store, "bronze", unit).value
    if layer == "bronze":
        landed = landed_files(context, unit)
        return sum(file.size for file in changed_files(context, landed, bronze.by_path, reuse=reuse))
    made = read_manifest(context.store, layer, unit).value
    kept = made.attempts if reuse and made.kernel == KERNEL_VERSION else set()
    return sum(file.size for file in bronze.files if file.attempt not in kept)
