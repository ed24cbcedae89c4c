"""Options of the benchmarks: --short or MATHKERNELS_BENCH_SHORT=1 proves answers and times only a moment."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="prove the answers, time only a moment")


@pytest.fixture(scope="session")
def short(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--short") or os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
