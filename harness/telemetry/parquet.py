"""Every row of telemetry as telemetry.parquet."""

from __future__ import annotations

import io
import json

from harness.telemetry.recording import Recording

TELEMETRY_FILE = "telemetry.parquet"
TELEMETRY_SCHEMA = 1
"""Version of the file. 1: first; `at_ns` and a column of float64 for each sensor, its unit in the field's metadata."""


def as_parquet(recording: Recording, from_ns: int) -> bytes:
    """The file. `at_ns` counts from `from_ns`, the start of the measured phase; before it is negative."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("at_ns", pa.int64(), nullable=False)]
    fields += [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in recording.units.items()]
    arrays = [pa.array([at - from_ns for at in recording.at_ns], pa.int64())]
    arrays += [pa.array(recording.columns[name], pa.float64()) for name in recording.units]
    about = {
        "assay_telemetry_schema": str(TELEMETRY_SCHEMA),
        "interval_s": repr(recording.interval_s),
        "times": "ns from the start of the measured phase",
        "missing": json.dumps(recording.missing),
    }
    target = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=about)), target, compression="zstd")
    return target.getvalue()
