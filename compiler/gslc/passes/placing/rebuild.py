"""Small fleets, card by card: starts with full cards, exchanges between cards, a few hosts emptied and filled anew."""

from __future__ import annotations

from gslc.passes.placing.completion import Completer
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.hall import Hall, Snapshot
from gslc.passes.placing.state import Position
from gslc.passes.placing.trade import Trader

RENEWED = 4  # starts that are renewed a few hosts at a time
ROUND = 4  # what a renewal costs besides one for each replica
MOST_EMPTIED = 2  # hosts that are emptied together with the first
ROOMY = 4  # all but one in so many renewals empty hosts with room on their cards rather than any
WORSE = 15  # thousandths of the fleet by which a renewed one may be worse, at most
PART_EMPTY = 4
WIDE = 2
LOAN = 4  # every second start may overdraw host memory by one part in so many
START_STEPS = 60  # of exchanges after a start
RENEWAL_STEPS = 25  # and after a renewal


def rebuild(hall: Hall, start: list[Position | None], completions: int, work: int) -> Snapshot:
    """Where the replicas of a hall lie in the best fleet found, from a given start and from filled cards."""
    rows: list[tuple[int, int, Snapshot]] = []
    dice = Dice(3)
    trader = Trader(hall, dice)
    hall.seat_all(start)
    rows.append((trader.run(START_STEPS), len(rows), hall.snapshot()))
    for number in range(completions):
        if min(rows)[0] == 0:
            break
        hall.clear()
        Completer(hall, dice, list(range(hall.hosts)), LOAN if number % 2 else 0).run()
        rows.append((trader.run(START_STEPS), len(rows), hall.snapshot()))
    rows.sort(key=lambda row: row[:2])
    best = rows[0]
    for row in rows[:RENEWED]:
        if best[0] == 0:
            break
        found = renew(hall, trader, row, work)
        best = min(best, found, key=lambda row: row[:2])
    hall.restore(best[2])
    leave_overdrawn(hall)
    return hall.snapshot()


def renew(hall: Hall, trader: Trader, start: tuple[int, int, Snapshot], work: int) -> tuple[int, int, Snapshot]:
    """The best fleet after emptying a few hosts, again and again, and filling their cards anew."""
    dice = trader.dice
    best, here = start, (start[0], start[2])
    hall.restore(here[1])
    while work > 0 and best[0]:
        hosts = _some_hosts(hall, dice)
        empty(hall, dice, hosts)
        work -= ROUND + len(hall.missing())
        Completer(hall, dice, hosts, LOAN if dice.below(2) else 0).run()
        before = trader.steps
        cost = trader.run(RENEWAL_STEPS)
        work -= (trader.steps - before) // 4
        if cost < best[0]:
            best = (cost, start[1], hall.snapshot())
        if cost <= here[0] + dice.below(WORSE):
            here = (cost, hall.snapshot())
        else:
            hall.restore(here[1])
    return best


def empty(hall: Hall, dice: Dice, hosts: list[int]) -> None:
    """Take everyone out of some hosts, or, as often, those on cards with room and on some others."""
    part = PART_EMPTY and dice.below(PART_EMPTY)
    for host in hosts:
        for number in list(hall.on[host]):
            if any(seat[0] not in hosts for seat in hall.where[number]):
                continue
            cards = hall.seating[number][0]
            if part and dice.below(3 if len(cards) > 1 else 2) and not any(hall.free[card] > 0 for card in cards):
                continue
            hall.take_out(number)


def _some_hosts(hall: Hall, dice: Dice) -> list[int]:
    """A few hosts, one of them where a replica without a place may lie, or where host memory is overdrawn."""
    drawn = [host for host in range(hall.hosts) if hall.memory[host] < 0]
    missing = hall.missing()
    if drawn and (not missing or dice.below(2)):
        hosts = [drawn[dice.below(len(drawn))]]
    else:
        lodgings = hall.lodgings[missing[dice.below(len(missing))]]
        hosts = [seat[0] for seat in lodgings[dice.below(len(lodgings))]]
    wide = [number for number in hall.on[hosts[0]] if len(hall.where[number]) > 1]
    if wide and dice.below(WIDE):
        hosts += [seat[0] for seat in hall.where[wide[dice.below(len(wide))]] if seat[0] not in hosts]
    others = [host for host in range(hall.hosts) if host not in hosts]
    count = 1 + dice.below(MOST_EMPTIED)
    dice.shuffle(others)
    if dice.below(ROOMY):
        others.sort(key=lambda host: -hall.room[host] * (50 + dice.below(100)))
    return hosts + others[:count]


def leave_overdrawn(hall: Hall) -> None:
    """Take replicas out of hosts whose memory is overdrawn, those with the least on cards first, until none is."""
    for host in range(hall.hosts):
        while hall.memory[host] < 0:
            rows = [(hall.weight[number], -seat[2], number) for number, seat in hall.on[host].items() if seat[2]]
            enough = [row for row in rows if -row[1] >= -hall.memory[host]]
            hall.take_out(min(enough or rows)[2])
