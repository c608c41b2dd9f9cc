"""Checks as `ci check` makes them, for tests of what is shown and stored. Figures are invented and agree with each other."""

from __future__ import annotations

from dataclasses import replace

from harness.ci.result import Check, Checked

SLOWER = Check(
    name="squad fast",
    backend="mine/engine.py",
    scenario="offline",
    task="squad",
    series="offline · squad · mine/engine.py",
    kind="throughput",
    verdict="regression",
    change=0.08,
    low=0.0725,
    high=0.0876,
    gate=0.03,
    unit="samples/s",
    base_value=108.0,
    head_value=100.0,
    blocks=12,
    rounds=2,
    confirmed=True,
    text="head takes 8.0% more time than base, 95 % interval [+7.2%, +8.8%], 12 blocks in 2 rounds of fresh processes",
    cure="look at what changed between base and head",
)
FASTER = replace(
    SLOWER,
    name="server",
    backend="pytorch:amp",
    scenario="server",
    series="server · squad · pytorch:amp",
    kind="latency",
    verdict="improvement",
    change=-0.1,
    low=-0.12,
    high=-0.08,
    unit="ns",
    base_value=40e6,
    head_value=36e6,
    text="head takes 10.0% less time than base",
    cure="",
)
SAME = replace(
    FASTER, name="same", verdict="unchanged", change=0.0, low=-0.01, high=0.01, head_value=40e6, blocks=6, rounds=1, confirmed=None
)
DOUBTFUL = replace(
    SAME, name="doubtful", verdict="undecided", change=0.02, low=-0.01, high=0.05, text="the gate lies inside", cure="measure longer"
)
LESS_ACCURATE = replace(
    SLOWER,
    kind="accuracy",
    change=0.015,
    low=0.01,
    high=0.02,
    gate=0.0,
    unit="f1",
    base_value=88.5,
    head_value=87.0,
    text="f1 88.50 → 87.00",
)
SKIPPED = Check(
    name="new",
    backend="null",
    scenario="offline",
    task="sst2",
    series="",
    kind="throughput",
    verdict="skipped",
    change=None,
    low=None,
    high=None,
    gate=0.03,
    unit="",
    base_value=None,
    head_value=None,
    blocks=0,
    rounds=0,
    confirmed=None,
    text="base could not be measured: there is no toy.py",
    cure="a new entry is compared from the next push on",
)
BROKEN = replace(SKIPPED, name="broken", verdict="error", text="head: it\nraised <ValueError> & \x1b[31mred\x1b[0m", cure="mend it")

CHECKED = Checked(
    checks=(SAME, SLOWER, LESS_ACCURATE, FASTER, DOUBTFUL, SKIPPED, BROKEN),
    base="main (3f2a1c0)",
    head="9e8d7c6",
    machine="AMD EPYC, 2 cores",
    started_utc="2026-08-21T10:11:12+00:00",
    floor={"offline": 0.009},
    exit_code=7,
    warnings=("this machine's noise is not known in server",),
    seconds=75.25,
)
GREEN = replace(CHECKED, checks=(SAME, FASTER), exit_code=0, warnings=())
NOTHING = replace(CHECKED, checks=(), exit_code=9, warnings=("no check was left",))
