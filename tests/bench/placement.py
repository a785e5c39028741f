"""Quality, stability and speed of placing, with the peers' rules beside ours; exits 1 when a promise is missed.

    python tests/bench/placement.py [--seeds N] [--hard N] [--judge N]

Peers place one replica after the other and never look back: first fit and best fit in the order of decreasing size,
best fit and spread in the order of the file (GPUStack's binpack and spread), and 32 shuffled best fits. All see the same
instances; ours is the product's own pass. `--judge N` asks the exact judge (ortools) about N small fleets.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from best_known import FILE as BEST_KNOWN
from instances import FLAVOURS, FLEETS, loaded, planted, wide_fleet
from pace import pace
from small_fleets import EMPTY_LOCK, candidates_of, lock_of, place, where

from gslc.ir.inputs import Cluster
from gslc.passes.place import place_models
from gslc.passes.placing.cost import Cost, Weigher
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.fit import BINPACK, FIRST, TIGHTEST, Fitter
from gslc.passes.placing.orders import as_declared, largest_first
from gslc.passes.placing.problem import Problem, Replica, problem_of
from gslc.passes.placing.search import Search
from gslc.passes.placing.state import State

GIB = 1 << 30
PLANTED_PROMISE = 95  # percent of small planted instances placed whole without offload
HARD_PROMISE = 95  # the same of every flavour, those left out that simple rules solve
HARD_FIRST_SEED = 20_000
LARGE_PROMISE_SECONDS = 0.7
BEST_KNOWN_PROMISE = 99  # percent of the replicas that the best known placement of a fleet holds

Peer = Callable[[Problem], Cost]


def greedy(problem: Problem, order: Callable[[Replica], tuple[int, ...]], style: int, *, even: bool = False) -> Cost:
    """The cost of one greedy pass: unplaced, offloaded bytes, moves, ranks, cards, crowding. even: emptiest first."""
    state = State(problem)
    search = Search(problem, state, Fitter(problem), Weigher(problem, {}), frozenset())
    for task in problem.tasks:
        task.spread = even
    search.greedy(list(problem.replicas), order, style)
    for task in problem.tasks:
        task.spread = False
    return Weigher(problem, {}).cost(state)  # all cards count, as for the other rules


def spread(problem: Problem) -> Cost:
    """Best fit turned round: the emptiest host first, in the order of the file."""
    return greedy(problem, as_declared, BINPACK, even=True)


def restarts(problem: Problem) -> Cost:
    """The best of 32 best fits in random order."""
    dice = Dice(1)
    best: Cost | None = None
    for _ in range(32):
        order = [replica.id for replica in problem.replicas]
        dice.shuffle(order)
        place_in = {number: index for index, number in enumerate(order)}
        cost = greedy(problem, lambda replica, place_in=place_in: (place_in[replica.id],), TIGHTEST)
        best = cost if best is None or cost < best else best
    assert best is not None
    return best


PEERS: dict[str, Peer] = {
    "first fit decreasing": lambda problem: greedy(problem, largest_first, FIRST),
    "best fit decreasing": lambda problem: greedy(problem, largest_first, TIGHTEST),
    "best fit, as declared": lambda problem: greedy(problem, as_declared, TIGHTEST),
    "spread, as declared": spread,
    "best of 32 shuffled": restarts,
}


def ours(fleet: Cluster) -> tuple[Cost, float]:
    """The cost of the product's placement, in the form of `greedy`, and its CPU seconds."""
    candidates = candidates_of(fleet)
    start = time.process_time()
    outcome = place_models(candidates, fleet, EMPTY_LOCK)
    seconds = time.process_time() - start
    placement = outcome.value
    assert placement is not None
    stats = placement.stats
    ranks = sum(entry.choice.rank for entry in placement.assignments)
    return (stats.replicas - stats.placed, stats.offloaded_bytes, 0, ranks, stats.gpus_used, 0, 0), seconds


# ------------------------------------------------------------------ tables


def planted_table(seeds: Iterable[int]) -> bool:
    """Small planted fleets: how many are placed whole on GPUs."""
    names = ["gslc", *PEERS]
    whole, placed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    seconds: list[float] = []
    hard = dict.fromkeys(names, 0)
    count = total = hard_count = 0
    for seed in seeds:
        instance = planted(seed)
        count, total = count + 1, total + instance.replicas
        cost, used = ours(instance.fleet)
        seconds.append(used)
        costs = {"gslc": cost}
        for name, peer in PEERS.items():
            costs[name] = peer(problem_of(candidates_of(instance.fleet), instance.fleet))
        beats = all(any(costs[name][:2]) for name in ("first fit decreasing", "best fit decreasing"))
        hard_count += beats
        for name in names:
            whole[name] += not any(costs[name][:2])
            hard[name] += beats and not any(costs[name][:2])
            placed[name] += instance.replicas - costs[name][0]
    print(f"\nplanted: {count} fleets of 2-8 hosts, {total} replicas, a placement of all on GPUs exists")
    print(f"(hard: the {hard_count} of them that first and best fit decreasing do not solve)\n")
    print(f"{'rule':26}{'whole':>8}{'%':>7}{'hard':>7}{'placed':>9}")
    for name in names:
        print(f"{name:26}{whole[name]:8}{100 * whole[name] / count:7.1f}{hard[name]:7}{placed[name]:9}")
    seconds.sort()
    middle = seconds[len(seconds) // 2]
    print(
        f"\ngslc CPU: middle {1000 * middle:.0f} ms, mean {1000 * sum(seconds) / count:.0f}, worst {1000 * seconds[-1]:.0f}"
    )
    return 100 * whole["gslc"] >= PLANTED_PROMISE * count


def hard_table(each: int) -> bool:
    """Planted fleets of every flavour that neither first nor best fit decreasing solves."""
    print("\nhard: fleets of every flavour that first and best fit decreasing do not solve, all of which fit on GPUs\n")
    print(f"{'flavour':14}{'fleets':>8}{'whole':>8}{'mean ms':>10}{'worst ms':>10}")
    count = whole = 0
    for flavour in FLAVOURS:
        seconds: list[float] = []
        solved = 0
        seed = HARD_FIRST_SEED
        while len(seconds) < each:
            seed += 1
            fleet = planted(seed, flavour=flavour).fleet
            peers = (PEERS[name] for name in ("first fit decreasing", "best fit decreasing"))
            if all(any(peer(problem_of(candidates_of(fleet), fleet))[:2]) for peer in peers):
                cost, used = ours(fleet)
                seconds.append(used)
                solved += not any(cost[:2])
        mean, worst = 1000 * sum(seconds) / each, 1000 * max(seconds)
        print(f"{flavour:14}{each:8}{solved:8}{mean:10.0f}{worst:10.0f}")
        count, whole = count + each, whole + solved
    print(f"{'all':14}{count:8}{whole:8}  ({100 * whole / count:.1f} %)")
    return 100 * whole >= HARD_PROMISE * count


def fleet_table() -> tuple[bool, bool]:
    """Loaded fleets: placed, offloaded GiB, ranks, cards; never worse than a peer; 99 % of the best known replicas."""
    print("\nfleets: placed / offloaded GiB / sum of ranks / cards used; best: known (and at most)\n")
    names = list(PEERS)[:4]
    print(
        f"{'hosts':>5}{'load':>6}{'replicas':>10}{'best':>14}  {'gslc':24}"
        + "".join(f"{name:24}" for name in names)
        + "ms"
    )
    known = {(row["hosts"], row["load"], row["seed"]): row for row in json.loads(BEST_KNOWN.read_text())}
    never_worse = near_best = True
    for hosts, load, seed in FLEETS:
        fleet = loaded(seed, hosts, load / 100)
        cost, seconds = ours(fleet)
        problem = problem_of(candidates_of(fleet), fleet)
        count = len(problem.replicas)
        best = known[hosts, load, seed]
        assert best["replicas"] == count  # else the file is of other fleets
        near_best &= 100 * (count - cost[0]) >= BEST_KNOWN_PROMISE * best["placed"]
        row = f"{hosts:5}{load:5}%{count:10}{best['placed']:8} ({best['bound']:3})  {shown(problem, cost):24}"
        for name in names:
            other = PEERS[name](problem_of(candidates_of(fleet), fleet))
            never_worse &= cost[:5] <= other[:5]
            row += f"{shown(problem, other):24}"
        print(f"{row}{1000 * seconds:.0f}")
    return never_worse, near_best


def shown(problem: Problem, cost: Cost) -> str:
    """A cost in a cell."""
    return f"{len(problem.replicas) - cost[0]} / {cost[1] // GIB} / {cost[3]} / {cost[4]}"


def stability_table() -> bool:
    """One change to a placed fleet: how many replicas move, and how many had to."""
    print("\nstability: one change, 20 hosts at 70 %\n")
    print(f"{'change':30}{'before':>8}{'after':>8}{'forced':>8}{'moved':>8}{'unforced':>10}")
    fleet = loaded(147, 20, 0.7)
    first = place(fleet)
    assert first.value is not None
    lock = lock_of(first.value)
    extra = replace(fleet.models[0], name="zz-new", replicas=2)
    gone = fleet.hosts[3].name
    changes = {
        "nothing": fleet,
        "a model added": replace(fleet, models=(*fleet.models, extra)),
        "a model removed": replace(fleet, models=fleet.models[1:]),
        "a host lost": replace(fleet, hosts=tuple(host for host in fleet.hosts if host.name != gone)),
        "hosts and models re-ordered": replace(fleet, hosts=fleet.hosts[::-1], models=fleet.models[::-1]),
        "a host added": replace(fleet, hosts=(*fleet.hosts, replace(fleet.hosts[0], name="zz-new"))),
    }
    before = where(first)
    unforced_total = 0
    for name, changed in changes.items():
        after = where(place(changed, lock))
        common = before.keys() & after.keys()
        moved = sum(1 for replica in common if before[replica] != after[replica])
        forced = sum(1 for replica in common if name == "a host lost" and f"{gone}:" in before[replica])
        unforced_total += moved - forced
        print(f"{name:30}{len(before):8}{len(after):8}{forced:8}{moved:8}{moved - forced:10}")
    return unforced_total == 0


def speed_table() -> bool:
    """CPU seconds of the pass alone."""
    print("\nspeed: CPU seconds of placing alone\n")
    print(
        f"{'hosts':>6}{'replicas':>10}{'first':>9}{'again':>9}{'by pace':>9}{'us a host':>11}{'steps':>9}{'placed':>8}{'cards':>8}"
    )
    kept = True
    for hosts, replicas in ((1, 3), (100, 200), (300, 600), (1000, 2000)):
        fleet = wide_fleet(hosts, replicas)
        even: list[float] = []  # seconds by the pace of the machine; three more tries where a bad minute met the first
        while not even or (min(even) > LARGE_PROMISE_SECONDS and len(even) < 4):
            gc.collect()
            gc.disable()
            candidates = candidates_of(fleet)
            slower = pace()
            start = time.process_time()
            outcome = place_models(candidates, fleet, EMPTY_LOCK)
            first = time.process_time() - start
            even.append(2 * first / (slower + pace()))
        assert outcome.value is not None
        candidates = candidates_of(fleet)
        start = time.process_time()
        place_models(candidates, fleet, lock_of(outcome.value))
        again = time.process_time() - start
        gc.enable()
        stats = outcome.value.stats
        print(
            f"{hosts:6}{replicas:10}{first:9.3f}{again:9.3f}{min(even):9.3f}{1e6 * first / hosts:11.0f}"
            f"{stats.steps:9}{stats.placed:8}{stats.gpus_used:8}"
        )
        kept &= min(even) <= LARGE_PROMISE_SECONDS
    return kept


def judge_table(count: int) -> bool:
    """Small loaded fleets against the exact judge."""
    from judge import judge

    print("\njudge: small fleets, placed / offloaded GiB / cards\n")
    same = 0
    for seed in range(count):
        fleet = loaded(seed, 2, 0.7)
        fleet = replace(fleet, hosts=tuple(replace(host, gpus=host.gpus[:4]) for host in fleet.hosts))
        verdict = judge(fleet)
        cost, _ = ours(fleet)
        total = sum(entry.replicas for entry in fleet.models)
        equal = total - cost[0] == verdict.placed and cost[1] <= verdict.offloaded_bytes + GIB // 64
        same += equal
        best = f"{verdict.placed} / {verdict.offloaded_bytes // GIB} / {verdict.cards}"
        proved = "".join("p" if one else "-" for one in verdict.proved)
        print(
            f"{seed:4} {total:4} replicas  judge {best:16} {proved}  gslc {total - cost[0]} / {cost[1] // GIB} / {cost[4]}"
        )
    print(f"\nequal in placed and offload: {same} of {count}")
    return same == count


def main() -> int:
    """Print all tables; 1 when a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--hard", type=int, default=20)
    parser.add_argument("--judge", type=int, default=0)
    options = parser.parse_args()
    whole, hard = planted_table(range(options.seeds)), hard_table(options.hard)
    never_worse, near_best = fleet_table()
    kept = {
        "planted": whole,
        "hard": hard,
        "never worse than a peer": never_worse,
        f"{BEST_KNOWN_PROMISE} % of the best known": near_best,
        "no unforced move": stability_table(),
        "speed": speed_table(),
    }
    if options.judge:
        judge_table(options.judge)
    print()
    for name, good in kept.items():
        print(f"{name}: {'kept' if good else 'MISSED'}")
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
