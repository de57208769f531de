"""tokenize-file on this host, against a plain copy of the file by pyarrow: `python -m bench files`.

A million rows of five columns, two of them tokenized (10 and 16 digits, vaultless), audited and on disk. The
copy reads every column as text, which is what keeps leading zeros, and writes it again with quotes where they
are needed, and is on disk at the end too, so that both wait for it. Both run on one core, and then on all,
which is what the targets are about, in turns; figures are medians. TMPDIR says where the files lie.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.target import SMALL, Target, report
from tests.support.service import initialise
from vault.cli.local import LocalService, LocalTokens
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA
from vault.config import find_file, load
from vault.errors import CoatcheckError
from vault.extras import load as extra
from vault.files.job import run
from vault.files.plan import CSV, PARQUET, Plan
from vault.wiring import Wiring

ROWS = 50_000 if SMALL else 1_000_000
ROUNDS = 1 if SMALL else 9
COLUMNS = (("phone", "bench.phone"), ("pan", "bench.pan"))
SCHEMA = DEVELOPMENT_SCHEMA + "".join(
    f'\n[fields."{field}"]\ntemplate = "digits(min={n}, max={n})"\n'
    'protection = "vaultless"\nretention = "key-lifetime"\n'
    for (_, field), n in zip(COLUMNS, (10, 16), strict=True)
)
TARGETS = {
    CSV: Target("tokenize_csv_vs_copy", 1.8, at_most=True),
    PARQUET: Target("tokenize_parquet_vs_copy", 1.65, at_most=True),
}


def write_rows(path: Path) -> None:
    """The CSV file."""
    chosen = random.Random(1)
    names = ("Ada Lovelace", "Alan Turing", "Grace Hopper", "Edsger Dijkstra")
    cities = ("London", "Paris", "New York", "Rotterdam")
    with path.open("w", encoding="utf-8") as file:
        file.write("id,phone,name,pan,city\n")
        for n in range(ROWS):
            phone, pan = chosen.randrange(10**10), chosen.randrange(10**16)
            file.write(f"{n},{phone:010d},{names[n % 4]},{pan:016d},{cities[n // 7 % 4]}\n")


def copiers(folder: Path) -> dict[str, Callable[[bool], None]]:
    """The plain copies; each is told whether it may use all cores."""
    csv, pq = extra("pyarrow.csv", "arrow"), extra("pyarrow.parquet", "arrow")
    pa: Any = extra("pyarrow", "arrow")
    texts = csv.ConvertOptions(
        column_types=dict.fromkeys(("id", "phone", "name", "pan", "city"), pa.string())
    )

    def copy_csv(threads: bool) -> None:
        options = csv.ReadOptions(use_threads=threads, block_size=4 << 20)
        with (
            csv.open_csv(folder / "in.csv", read_options=options, convert_options=texts) as reader,
            csv.CSVWriter(folder / "copy.csv", reader.schema) as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)
        sync(folder / "copy.csv")

    def copy_parquet(threads: bool) -> None:
        with pq.ParquetFile(folder / "in.parquet") as file:
            codec = file.metadata.row_group(0).column(0).compression
            with pq.ParquetWriter(folder / "copy.parquet", file.schema_arrow, compression=codec) as writer:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group, use_threads=threads))
        sync(folder / "copy.parquet")

    table = csv.read_csv(folder / "in.csv", convert_options=texts)
    pq.write_table(table, folder / "in.parquet", row_group_size=131_072)
    return {CSV: copy_csv, PARQUET: copy_parquet}


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def main() -> bool:
    try:
        extra("pyarrow", "arrow")
    except CoatcheckError:
        print("files: skipped, pyarrow is not installed (coatcheck[arrow])")
        return True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "coatcheck.toml").write_text(DEVELOPMENT, encoding="utf-8")
        (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
        initialise(folder)
        write_rows(folder / "in.csv")
        copies = copiers(folder)
        opened = Wiring(load(find_file(str(folder)))).open("eu")
        try:
            return measure(folder, copies, LocalTokens(LocalService(opened.cell, "main"), 10_000))
        finally:
            opened.close()


def measure(folder: Path, copies: dict[str, Callable[[bool], None]], tokens: LocalTokens) -> bool:
    results = []
    cores = os.sched_getaffinity(0)
    for form, copy in copies.items():
        plan = Plan(folder / f"in.{form}", folder / f"out.{form}", COLUMNS, form=form)

        def job(_threads: bool, plan: Plan = plan) -> None:
            done = run(plan, tokens, lambda _done, _all: None)
            if (done.rows, done.rejected) != (ROWS, 0):
                raise SystemExit("not all rows were tokenized")

        for one in (True, False):
            os.sched_setaffinity(0, {min(cores)} if one else cores)
            turns = [(seconds(job, not one), seconds(copy, not one)) for _ in range(ROUNDS)]
            ours, theirs = (median(turn[side] for turn in turns) for side in (0, 1))
            where = "one core" if one else f"{len(cores)} cores"
            ratio = median(mine / floor for mine, floor in turns)
            rates = f"{ROWS / ours:11,.0f} rows/s   copy {ROWS / theirs:11,.0f}"
            print(f"  {form:8} {where:9} {rates}   ratio {ratio:.2f}")
            if not one:
                results.append((TARGETS[form], ratio))
    return report(results)


def seconds(call: Callable[[bool], None], threads: bool) -> float:
    start = time.perf_counter()
    call(threads)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(not main())
