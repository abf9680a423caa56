"""Fuzz the decoder and the parser: ``python -m tests.fuzz.run`` (or ``make fuzz``).

Mutants of real films go through the decoder and its worker process, one in twenty through HTTP as
well; mutants of grounded texts go through the parser, whole and in pieces. Every mutant is named
by the seed of the run and its number: what fails is saved and can be made again. The exit status
is 1 when anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from tests.fuzz.films import MEMORY_LIMIT, Findings, fuzz_films
from tests.fuzz.mutations import mutant
from tests.fuzz.texts import fault_of_reading, mutant_text

_MIB = 1024 * 1024
_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=20_000, help="mutated films (20000)")
    parser.add_argument("--texts", type=int, default=20_000, help="mutated texts (20000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other mutants (0)")
    parser.add_argument("--only", type=int, help="make and decode the film of this number alone")
    parser.add_argument("--lanes", type=int, default=2, help="films decoded at once (2)")
    parser.add_argument(
        "--save", type=Path, default=Path("runs/fuzz"), help="folder of what fails (runs/fuzz)"
    )
    options = parser.parse_args(arguments)
    films = range(options.films) if options.only is None else [options.only]
    started = time.perf_counter()
    findings = asyncio.run(fuzz_films(options.seed, iter(films), lanes=options.lanes))
    seconds = time.perf_counter() - started
    _report(findings, len(films), seconds)
    for index, fault in sorted(findings.faults.items())[:_SHOWN]:
        options.save.mkdir(parents=True, exist_ok=True)
        path = options.save / f"{options.seed}-{index}.bin"
        path.write_bytes(mutant(options.seed, index)[1])
        print(f"FAILED film {index}: {fault}; saved as {path}")
        print(f"  again: python -m tests.fuzz.run --seed {options.seed} --only {index}")
    texts = range(options.texts) if options.only is None else range(0)
    started = time.perf_counter()
    faults = {
        index: fault
        for index in texts
        if (fault := fault_of_reading(*mutant_text(options.seed, index))) is not None
    }
    print(f"{len(texts)} texts in {time.perf_counter() - started:.0f} s: {len(faults)} failed")
    for index, fault in sorted(faults.items())[:_SHOWN]:
        print(f"FAILED text {index}: {fault}: {mutant_text(options.seed, index)!r}")
    within = findings.peak_address_space <= MEMORY_LIMIT
    return 0 if within and not findings.faults and not faults else 1


def _report(findings: Findings, films: int, seconds: float) -> None:
    print(f"{films} films in {seconds:.0f} s: {len(findings.faults)} failed")
    for outcome, count in findings.outcomes.most_common():
        print(f"  {count:7d}  {outcome}")
    print(f"  {findings.over_http:7d}  of them over HTTP as well")
    print(f"  {findings.replaced:7d}  workers died or were stopped, and were replaced")
    slowest, index = findings.slowest
    print(f"  slowest film: {slowest:.2f} s (number {index})")
    print(
        f"  a worker's memory at most: {findings.peak_resident // _MIB} MiB resident, "
        f"{findings.peak_address_space // _MIB} of {MEMORY_LIMIT // _MIB} MiB address space"
    )


if __name__ == "__main__":
    raise SystemExit(main())
