"""How the processes that live now find one another in a store that remembers those before them.

torchrun keeps its store when it starts processes again, and on each machine it counts for itself how often it did:
neither that count nor anything else in their environment is the same for all of them and new each time.
"""

import hashlib
import json
import secrets
import time
from datetime import timedelta

from torch.distributed import DistStoreError
from torch.distributed.distributed_c10d import PrefixStore, Store

POLL_SECONDS = 0.05


def meet(store: Store, rank: int, count: int, timeout: timedelta) -> tuple[PrefixStore, int]:
    """A part of the store that these processes alone use, and in process 0 how many meetings there were before.

    Each writes a new name for itself. Process 0 tells all which names it sees, again where one changes; they meet once
    each has said that its own is among those. Raises DistStoreError.
    """
    base = PrefixStore("pixeltui", store)
    own, said, seen = secrets.token_hex(8), "", None
    base.set(f"name/{rank}", own)
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        if rank == 0:
            names = [base.get(f"name/{other}").decode() for other in range(count)]
            if names != seen:
                seen = names
                base.set("names", json.dumps(names))
        names = json.loads(base.get("names"))
        if len(names) == count and names[rank] == own:
            place = hashlib.sha256(json.dumps(names).encode()).hexdigest()
            if base.add(place, int(place != said)) == count:
                return PrefixStore(f"in/{place}", base), base.add("meetings", int(rank == 0)) - 1
            said = place
        time.sleep(POLL_SECONDS)
    raise DistStoreError(f"not all {count} came within {timeout}")
