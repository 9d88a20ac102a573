"""The program's mode `follow`: items are listed, and what is not as it is known is sent at once. No service imports it.

It is sent behind the text of `program`, whose names it uses. What it reads and writes is described in `updates`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import struct
    from collections.abc import Iterator

    from .program import (
        END,
        FRAGMENT,
        HUNG,
        MODES,
        OUTPUT,
        REGULAR,
        STDERR,
        STDOUT,
        SUMMARY,
        Found,
        Item,
        Lister,
        Request,
        Worker,
        send,
    )

    Wanted = tuple[int, int, int, bytes, int]  # weight, item, place, path, how much is sent at most

RESTING = 255
RANKS = {FRAGMENT: 0, OUTPUT: 1, STDOUT: 2, STDERR: 3}


class Follower(Lister):
    """Lists items, then sends files of them, lighter ones first, as far as the budget goes.

    A file weighs what it has bytes, half as much for each time that it was passed over.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.max_path = request.number()
        self.max_files = request.number()
        self.max_file_bytes = request.number()
        self.max_total_bytes = request.number()
        self.tail_bytes = request.number()
        self.slack_bytes = request.number()
        self.left_bytes = request.number()
        self.left_names = request.number()
        self.max_walked = min(self.max_walked, self.left_names)
        self.known = [known_of(request) for _ in self.items]
        self.found: list[tuple[int, Found]] = []
        self.wanted: list[Wanted] = []

    def tasks(self) -> "Iterator[tuple[int, int, Item]]":
        """Yield what is to be listed, item by item until there are names enough, then what is to be sent."""
        for number, item in enumerate(self.items):
            if self.left_names <= 0:
                break
            for place in range(END + 1):
                yield number, place, item
        for at, (_, number, place, path, size) in enumerate(self.affordable()):
            yield at, -1, Chosen(self.items[number], number, place, path, size)

    def do(self, worker: Worker, task: "tuple[int, int, Item]") -> None:
        """List one place of an item, or send one file."""
        number, place, item = task
        if isinstance(item, Chosen):
            worker.tell(b"W", number, item.place, item.number, 0.0, item.path)
            worker.flush()  # should this file stop the program, it is known which it was
            worker.tell(b"E", number, self.send(worker, number, item))
            return
        super().do(worker, task)
        if place == END:
            self.choose(number)

    def hung(self, worker: Worker, task: "tuple[int, int, Item]", path: bytes, seconds: int) -> None:
        """Say what is known of a place or a file that does not answer."""
        if isinstance(task[2], Chosen):
            worker.tell(b"E", task[0], HUNG, seconds)
        else:
            super().hung(worker, task, path, seconds)

    def report(self, worker: Worker, number: int, owner: int, found: "list[Found]", unseen: int) -> None:
        """Write what was found in an output directory."""
        self.left_names -= len(found) + 1
        super().report(worker, number, owner, found, unseen)

    def name(self, worker: Worker, number: int, place: int, found: "Found") -> None:
        """Write one file that was found, and remember it if it may be sent."""
        super().name(worker, number, place, found)
        if found[1] == REGULAR:
            self.found.append((place, found))

    def choose(self, number: int) -> None:
        """Want what has changed of an item's files, as far as its limits let it be kept."""
        files = total = 0
        for place, (path, _, size, modified) in sorted(self.found, key=in_order):
            is_log = place in (STDOUT, STDERR)
            is_summary = place == FRAGMENT or path == SUMMARY
            if len(path) > self.max_path:
                continue
            if not is_log:
                is_over = size > self.max_file_bytes or (files >= self.max_files and not is_summary)
                if is_over or total + size > self.max_total_bytes:
                    continue
                files, total = files + (not is_summary), total + size
            known_size, known_modified, shift = self.known[number].get((place, path), (-1, 0.0, 0))
            if (known_size, known_modified) != (size, modified) and shift != RESTING:
                cost = min(size, self.tail_bytes) if is_log else size
                self.wanted.append((cost >> shift, number, place, path, cost))
        self.found = []

    def affordable(self) -> "Iterator[Wanted]":
        """Yield what is sent, lighter files first; what is too large for what is left gives way to others."""
        for one in sorted(self.wanted):
            if one[-1] <= self.left_bytes:
                self.left_bytes -= one[-1]
                yield one

    def send(self, worker: Worker, at: int, chosen: "Chosen") -> int:
        """Send one file; it may have grown a little since it was listed."""
        base, below = chosen.item.paths[chosen.place]
        path = below + b"/" + chosen.path if chosen.place == OUTPUT else below
        is_tail = chosen.place in (STDOUT, STDERR)
        limit = self.tail_bytes if is_tail else min(chosen.size + self.slack_bytes, self.max_file_bytes)
        owner = chosen.item.owner
        return HUNG if owner is None else send(worker, at, base, owner, path, is_tail, limit)


class Chosen(Item):
    """A file that is sent: whose, which and how much of it."""

    def __init__(self, item: Item, number: int, place: int, path: bytes, size: int) -> None:
        super().__init__(item.paths, item.account, item.is_ours)
        self.item = item
        self.number = number
        self.place = place
        self.path = path
        self.size = size


def known_of(request: Request) -> "dict[tuple[int, bytes], tuple[int, float, int]]":
    """Read what is known of an item's files: by place and path size, time of change and how it is weighed."""
    known = {}
    for _ in range(request.number()):
        place, path, size = request.number(), request.text(), request.number()
        (modified,) = struct.unpack(">d", struct.pack(">Q", request.number()))
        known[place, path] = size, modified, request.number()
    return known


def in_order(one: "tuple[int, Found]") -> "tuple[int, bool, bytes]":
    """Sort by this what is kept of an item: its fragment, its summary, files by path, logs."""
    place, (path, *_) = one
    return RANKS[place], path != SUMMARY, path


MODES["follow"] = Follower
