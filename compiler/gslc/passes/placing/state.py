"""What is free on every host while a search runs, and which seats a replica could take there."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeAlias

from gslc.ir.nvlink import Links, islands_in
from gslc.ir.record import dataclass
from gslc.passes.placing.cards import UNTOUCHED, best_cards
from gslc.passes.placing.options import Option, Part, Sizes
from gslc.passes.placing.pools import Pool, Room, Way
from gslc.passes.placing.problem import ModelTask, Problem, Replica

Cards: TypeAlias = tuple[int, ...]  # card numbers in the engine's device order
Spot: TypeAlias = tuple[int, Cards]  # a host and cards there
LOCKED = -1  # the owner of a port that the lock holds
ALONE = -1  # users of a card that is held exclusively


@dataclass(slots=True, eq=False)
class Position:
    """An option and where each of its parts lies."""

    option: Option
    spots: tuple[Spot, ...]


class State:
    """Free memory, users of every card and the position of every placed replica. Changed in place by the searches."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.memory = list(problem.memory_capacity)
        self.free = [list(row) for row in problem.gpu_capacity]
        self.users = [[0] * len(row) for row in problem.gpu_capacity]
        self.marks = [[0] * len(row) for row in problem.gpu_capacity]  # users, at most 1: what a condition tells
        self.untouched = [len(row) for row in problem.gpu_capacity]
        self.positions: list[Position | None] = [None] * len(problem.replicas)
        self.offload = 0  # bytes, of all that are placed
        self.ranks = 0
        self.placed = {task.priority: 0 for task in problem.tasks}  # replicas by priority
        self.on_host: list[dict[int, None]] = [{} for _ in problem.hosts]  # replica ids, in order of arrival
        self.of_model: dict[tuple[int, int], int] = {}  # (model, host) -> replicas there
        self.fixed_ports: dict[tuple[int, int], int] = {}  # (host, port) -> replica id, or LOCKED
        self.ports_used = [0] * len(problem.hosts)  # of the range
        self.families: dict[int, list[int]] = {}  # model -> [replicas on Nomad, elsewhere]
        self.conditions = problem.conditions
        self.examples = problem.examples
        self.ground = self._grounds()
        self.condition = [self._condition_of(host) for host in range(len(problem.hosts))]
        self.version = [0] * len(problem.hosts)  # changes with every change on a host
        self.pools: dict[int, Pool] = {}
        self.pools_at: list[list[Pool]] = [[] for _ in problem.hosts]

    # -------------------------------------------------------- changes

    def take(self, replica: Replica, position: Position) -> None:
        """Give a replica its seats."""
        task = replica.task
        unified = self.problem.unified
        fixed = task.port_outside
        for part, (host, cards) in zip(position.option.parts, position.spots, strict=True):
            self.memory[host] -= part.memory_unified if unified[host] else part.memory
            free, users, marks = self.free[host], self.users[host], self.marks[host]
            for need, slot in zip(part.needs, part.slots, strict=True):
                card = cards[slot]
                free[card] -= need
                if users[card] == 0:
                    self.untouched[host] -= 1
                    marks[card] = ALONE if part.exclusive else 1
                users[card] = ALONE if part.exclusive else users[card] + 1
            self.on_host[host][replica.id] = None
            self.ports_used[host] += part.ports - fixed
            fixed = 0
            key = (task.index, host)
            self.of_model[key] = self.of_model.get(key, 0) + 1
            self._moved_on(host)
        self.positions[replica.id] = position
        self.offload += position.option.offload
        self.ranks += position.option.rank
        self.placed[task.priority] += 1
        if task.port is not None:
            self.fixed_ports[position.spots[0][0], task.port] = replica.id
        if task.one_family:
            self.families.setdefault(task.index, [0, 0])[self._family(position.spots[0][0])] += 1

    def release(self, replica: Replica) -> Position:
        """Take a replica's seats back; the answer is where it was."""
        task = replica.task
        position = self.positions[replica.id]
        assert position is not None  # only placed replicas are released
        unified = self.problem.unified
        fixed = task.port_outside
        for part, (host, cards) in zip(position.option.parts, position.spots, strict=True):
            self.memory[host] += part.memory_unified if unified[host] else part.memory
            free, users, marks = self.free[host], self.users[host], self.marks[host]
            for need, slot in zip(part.needs, part.slots, strict=True):
                card = cards[slot]
                free[card] += need
                users[card] = 0 if users[card] == ALONE else users[card] - 1
                if users[card] == 0:
                    self.untouched[host] += 1
                    marks[card] = 0
            del self.on_host[host][replica.id]
            self.ports_used[host] -= part.ports - fixed
            fixed = 0
            self.of_model[task.index, host] -= 1
            self._moved_on(host)
        self.positions[replica.id] = None
        self.offload -= position.option.offload
        self.ranks -= position.option.rank
        self.placed[task.priority] -= 1
        if task.port is not None:
            del self.fixed_ports[position.spots[0][0], task.port]
        if task.one_family:
            self.families[task.index][self._family(position.spots[0][0])] -= 1
        return position

    def hold_locked_port(self, host: int, port: int) -> None:
        """Keep a port that a kept replica has from the range away from models that want it as their fixed one."""
        self.fixed_ports.setdefault((host, port), LOCKED)

    def forget_locked_ports(self) -> None:
        """Let all ports but the fixed ones go."""
        self.fixed_ports = {place: owner for place, owner in self.fixed_ports.items() if owner != LOCKED}

    # -------------------------------------------------------- conditions and pools

    def _grounds(self) -> list[int]:
        """A number for hosts with the same cards, the same links between them and the same kind of memory."""
        numbers: dict[object, int] = {}
        problem = self.problem
        return [
            numbers.setdefault((problem.kinds[host], problem.unified[host], problem.links[host]), len(numbers))
            for host in range(len(problem.hosts))
        ]

    def _condition_of(self, host: int) -> int:
        free = tuple(self.free[host])
        users = tuple(self.marks[host])
        key = (self.ground[host], self.memory[host], free, users)
        found = self.conditions.get(key)
        if found is None:
            found = self.conditions[key] = len(self.examples)
            self.examples.append((self.memory[host], free, users))
        return found

    def _moved_on(self, host: int) -> None:
        """Put a host whose free memory has changed into its new bucket, in every pool that has it."""
        self.version[host] += 1
        old = self.condition[host]
        new = self.condition[host] = self._condition_of(host)
        if old == new:
            return
        for pool in self.pools_at[host]:
            pool.room = None
            if pool.spots:
                pool.spots.clear()
            bucket = pool.buckets[old]
            if len(bucket) == 1:
                del pool.buckets[old]
                for way, entries in pool.lists.items():
                    entry = (self.value_of(old, way), old)
                    del entries[bisect_left(entries, entry)]
            else:
                bucket.remove(host)
            known = pool.buckets.get(new)
            if known is None:
                pool.buckets[new] = [host]
                for way, entries in pool.lists.items():
                    insort(entries, (self.value_of(new, way), new))
            else:
                insort(known, host)

    def pool(self, hosts: tuple[int, ...]) -> Pool:
        """The pool of these hosts; one object for one tuple."""
        found = self.pools.get(id(hosts))
        if found is None:
            found = self.pools[id(hosts)] = Pool(hosts)
            for host in hosts:
                found.buckets.setdefault(self.condition[host], []).append(host)
                self.pools_at[host].append(found)
        return found

    def at_least(self, pool: Pool, way: Way, value: int) -> tuple[list[tuple[int, int]], int]:
        """The sorted entries of a pool for one way of asking, and where those begin that offer `value`."""
        entries = pool.lists.get(way)
        if entries is None:
            entries = pool.lists[way] = sorted((self.value_of(number, way), number) for number in pool.buckets)
        return entries, bisect_left(entries, (value, -1))

    def value_of(self, condition: int, way: Way) -> int:
        """What hosts in a condition offer: bytes on each of `count` cards (touched, whole, any), or host memory."""
        kind, count = way
        memory, free, users = self.examples[condition]
        if kind == "memory":
            return memory
        if kind == "touched":
            sizes = [size for size, user in zip(free, users, strict=True) if user > 0]
        elif kind == "whole":
            sizes = [size for size, user in zip(free, users, strict=True) if user == 0]
        else:
            sizes = [size for size, user in zip(free, users, strict=True) if user >= 0]
        if len(sizes) < count:
            return -1
        return max(sizes) if count == 1 else sorted(sizes, reverse=True)[count - 1]

    def room_of(self, pool: Pool) -> Room:
        """The most that any host of a pool has: bytes on a card, on a card that nobody uses, and of host memory."""
        if pool.room is None:
            rows = [self.sorted_cards(condition) for condition in pool.buckets]
            shared = max([row[0][-1][0] for row in rows if row[0]], default=-1)
            whole = max([row[1][-1][0] for row in rows if row[1]], default=-1)
            memory = max([self.examples[condition][0] for condition in pool.buckets], default=-1)
            pool.room = (max(shared, whole), whole, memory)
        return pool.room

    def sorted_cards(self, condition: int) -> tuple[Sizes, Sizes]:
        """The cards of hosts in a condition that are shared by some, and those that nobody uses, by bytes free."""
        found = self.problem.sorted_cards.get(condition)
        if found is None:
            _, free, users = self.examples[condition]
            rows = sorted([(size, card) for card, size in enumerate(free)])
            found = self.problem.sorted_cards[condition] = (
                [row for row in rows if users[row[1]] > 0],
                [row for row in rows if users[row[1]] == 0],
            )
        return found

    # -------------------------------------------------------- questions

    def _family(self, host: int) -> int:
        return 0 if self.problem.hosts[host].target == "nomad" else 1

    def admits(self, task: ModelTask, host: int) -> bool:
        """True when the rules that are not about memory let one more replica of the model onto the host."""
        if task.apart and self.of_model.get((task.index, host), 0):
            return False
        ports = self.problem.ports
        if ports is not None and not task.port_outside and self.ports_used[host] >= ports:
            return False
        if task.port is not None and (host, task.port) in self.fixed_ports:
            return False
        if task.one_family:
            counts = self.families.get(task.index)
            if counts is not None and counts[1 - self._family(host)]:
                return False
        return True

    def allows(self, task: ModelTask, position: Position) -> bool:
        """True when every part fits exactly the cards of its spot, and all rules hold."""
        option = position.option
        if len(option.parts) != len(position.spots):
            return False
        return all(
            self._allows_part(task, part, spot, number)
            for number, (part, spot) in enumerate(zip(option.parts, position.spots, strict=True))
        )

    def _allows_part(self, task: ModelTask, part: Part, spot: Spot, number: int) -> bool:
        host, cards = spot
        problem = self.problem
        if len(cards) != part.count or len(set(cards)) != part.count:
            return False
        if part.indices is not None and part.indices != cards:
            return False
        if self.memory[host] < (part.memory_unified if problem.unified[host] else part.memory):
            return False
        free, users, kinds = self.free[host], self.users[host], problem.kinds[host]
        for need, slot in zip(part.needs, part.slots, strict=True):
            card = cards[slot]
            if free[card] < need or users[card] == ALONE or (part.exclusive and users[card]):
                return False
        if part.same_kind and len({kinds[card] for card in cards}) > 1:
            return False
        if part.kind is not None and any(kinds[card] != problem.kind_numbers.get(part.kind, -1) for card in cards):
            return False
        if task.pins is not None and not set(cards) <= set(task.pins.get(host, ())):
            return False
        return self.admits(task, host) or (number > 0 and task.port is not None and not task.apart)

    def cards_for(self, part: Part, host: int, task: ModelTask) -> Cards | None:
        """The cards that fit a part best on a host, in device order; None where it does not fit. () needs no card."""
        problem = self.problem
        if self.memory[host] < (part.memory_unified if problem.unified[host] else part.memory):
            return None
        if part.count == 0:
            return ()
        free, users = self.free[host], self.users[host]
        allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
        if part.indices is not None:
            return self._named_cards(part, host, allowed)
        smallest = part.needs[-1]
        if part.exclusive:
            usable = [(free[card], card) for card in allowed if users[card] == 0 and free[card] >= smallest]
        else:
            usable = [
                (free[card] if users[card] else free[card] + UNTOUCHED, card)
                for card in allowed
                if users[card] >= 0 and free[card] >= smallest
            ]
        if part.kind is not None:
            kinds, wanted = problem.kinds[host], problem.kind_numbers.get(part.kind, -1)
            usable = [entry for entry in usable if kinds[entry[1]] == wanted]
        if len(usable) < part.count:
            return None
        links = problem.links[host]
        if part.count == 1:
            return (self._loosest(host, usable, links) if links else min(usable)[1],)
        if part.same_kind and not problem.one_kind[host]:
            return self._cards_of_one_kind(part, host, usable)
        return best_cards(part, usable, free, links)

    def _loosest(self, host: int, usable: list[tuple[int, int]], links: Links) -> int:
        """The tightest card; of equal ones one in the island with the fewest untouched cards: others stay whole."""
        users = self.users[host]
        whole: dict[int, int] = {}
        for card, island in enumerate(links):
            whole[island] = whole.get(island, 0) + (users[card] == 0)
        return min((size, whole[links[card]], card) for size, card in usable)[2]

    def crosses(self, part: Part, spot: Spot) -> bool:
        """True for a group of cards that are not all in one NVLink island of a host that knows its islands."""
        host, cards = spot
        return part.group and islands_in(self.problem.links[host], cards) > 1

    def _named_cards(self, part: Part, host: int, allowed: object) -> Cards | None:
        free, users = self.free[host], self.users[host]
        cards = part.indices or ()
        for need, slot in zip(part.needs, part.slots, strict=True):
            card = cards[slot]
            if card >= len(free) or free[card] < need or users[card] == ALONE:
                return None
            if part.exclusive and users[card]:
                return None
            if card not in allowed:  # type: ignore[operator]
                return None
        return cards

    def _cards_of_one_kind(self, part: Part, host: int, usable: list[tuple[int, int]]) -> Cards | None:
        kinds = self.problem.kinds[host]
        best: tuple[int, Cards] | None = None
        for kind in sorted({kinds[card] for _, card in usable}):
            group = [entry for entry in usable if kinds[entry[1]] == kind]
            if len(group) < part.count:
                continue
            cards = best_cards(part, group, self.free[host], self.problem.links[host])
            if cards is None:
                continue
            size = sum(self.free[host][card] for card in cards)
            if best is None or size < best[0]:
                best = (size, cards)
        return best[1] if best is not None else None

    def snapshot(self) -> list[Position | None]:
        """The positions of now, to come back to."""
        return list(self.positions)

    def undo(self, former: list[tuple[Replica, Position | None]]) -> None:
        """Put some replicas back to where they were; nobody else has moved since."""
        for replica, _ in former:
            if self.positions[replica.id] is not None:
                self.release(replica)
        for replica, position in sorted(former, key=lambda entry: entry[0].id):
            if position is not None:
                self.take(replica, position)

    def restore(self, positions: list[Position | None]) -> None:
        """Make `positions` true again."""
        replicas = self.problem.replicas
        changed = [number for number, old in enumerate(positions) if old is not self.positions[number]]
        for number in changed:
            if self.positions[number] is not None:
                self.release(replicas[number])
        for number in changed:
            position = positions[number]
            if position is not None:
                self.take(replicas[number], position)
