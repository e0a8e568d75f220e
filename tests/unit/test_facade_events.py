"""C_WaitForSlotEvent: flags of slots, and threads that wait for them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from pkcs11_module import _constants as ck
from pkcs11_module.facade.events import SlotEvents, SlotWatch
from pkcs11_module.types import Buffer, Length
from tests.unit.facade_rig import Client, Rig, SlotReader

PATIENCE = 20


def waiting(pool: ThreadPoolExecutor, client: Client, count: int = 1) -> list[Future[object]]:
    """Threads of an application in a blocking call; none before all of them sleep."""
    started = [pool.submit(client, "C_WaitForSlotEvent", 0) for _ in range(count)]
    condition = client.application.events._changed
    while len(condition._waiters) < count:  # type: ignore[attr-defined]  # only the library knows
        time.sleep(0.001)
    return started


def test_an_application_begins_with_every_flag_cleared(rig: Rig) -> None:
    rig.reinsert()
    client = rig.application()
    assert client.fails("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK) == "CKR_NO_EVENT"


def test_an_event_is_told_once_to_every_application(rig: Rig) -> None:
    clients = [rig.application(), rig.application()]
    rig.reader.remove()
    for client in clients:
        assert client("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK) == 1
        assert client.fails("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK) == "CKR_NO_EVENT"


def test_a_slot_has_one_flag_and_an_insertion_taken_back_still_sets_it(rig: Rig) -> None:
    client = rig.application()
    rig.reinsert()
    rig.reader.remove()
    rig.insert()
    assert client("C_WaitForSlotEvent", 0) == 1
    assert client.fails("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK) == "CKR_NO_EVENT"
    rig.reader.remove()
    client("C_WaitForSlotEvent", 0)
    rig.insert()
    rig.reader.remove()
    assert client("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK) == 1


def test_events_of_several_slots_are_told_one_by_one(rig: Rig) -> None:
    readers = [SlotReader(number, rig.events) for number in (2, 3)]
    rig.all.extend(readers)
    client = rig.application()
    for reader in reversed(readers):
        reader.remove()
    assert [client("C_WaitForSlotEvent", 0) for _ in readers] == [3, 2]


def test_the_slot_of_an_event_can_be_used_at_once(rig: Rig) -> None:
    client = rig.application()
    late = SlotReader(5, rig.events)
    rig.all.append(late)
    assert client.fails("C_GetSlotInfo", 5) == "CKR_SLOT_ID_INVALID"
    assert rig.reader.card is not None
    late.insert(rig.reader.card)
    assert client("C_WaitForSlotEvent", 0) == 5
    assert client("C_GetSlotInfo", 5)[2] & ck.CKF_TOKEN_PRESENT
    assert client("C_GetSlotList", True, Buffer(None)) == Length(2)


def test_each_application_that_waits_is_woken(rig: Rig) -> None:
    with ThreadPoolExecutor(3) as pool:
        calls = [waiting(pool, rig.application())[0] for _ in range(3)]
        rig.reader.remove()
        assert [call.result(PATIENCE) for call in calls] == [1, 1, 1]


def test_of_two_threads_of_one_application_an_event_wakes_one(rig: Rig) -> None:
    client = rig.application()
    with ThreadPoolExecutor(2) as pool:
        calls = waiting(pool, client, 2)
        rig.reader.remove()
        while not any(call.done() for call in calls):
            time.sleep(0.001)
        assert sorted(call.done() for call in calls) == [False, True]
        rig.insert()
        assert [call.result(PATIENCE) for call in calls] == [1, 1]


def test_an_idle_waiter_does_nothing(rig: Rig) -> None:
    client = rig.application()
    asked: list[str] = []

    class Curious(SlotReader):
        @property
        def present(self) -> bool:
            asked.append("present")
            return super().present

    rig.all.append(Curious(9, rig.events))
    client.application.list_slots()
    with ThreadPoolExecutor(1) as pool:
        (call,) = waiting(pool, client)
        asked.clear()
        watch: SlotWatch = client.application.events
        # Nobody else wakes it: it sleeps without a timeout until the flag is set.
        assert len(watch._changed._waiters) == 1  # type: ignore[attr-defined]  # as above
        rig.reader.remove()
        assert call.result(PATIENCE) == 1
    assert asked == []


def test_other_threads_work_while_one_waits(rig: Rig) -> None:
    client = rig.initialised()
    session = client.user()
    with ThreadPoolExecutor(1) as pool:
        (call,) = waiting(pool, client)
        _, private = client.make_ec_pair(session)
        assert len(client.sign(session, ck.CKM_ECDSA, private, bytes(32))) == 64
        assert not call.done()
        rig.reader.remove()
        assert call.result(PATIENCE) == 1


def test_the_end_of_the_application_wakes_every_thread(rig: Rig) -> None:
    client = rig.application()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(client.fails, "C_WaitForSlotEvent", 0) for _ in range(2)]
        condition = client.application.events._changed
        while len(condition._waiters) < 2:  # type: ignore[attr-defined]  # only the library knows
            time.sleep(0.001)
        client.application.close()
        assert [call.result(PATIENCE) for call in calls] == ["CKR_CRYPTOKI_NOT_INITIALIZED"] * 2
    assert client.fails("C_WaitForSlotEvent", 0) == "CKR_CRYPTOKI_NOT_INITIALIZED"
    client.application.close()


def test_who_has_ended_is_told_of_nothing(rig: Rig) -> None:
    for _ in range(3):
        rig.application().application.close()
    assert rig.events._watches == ()


def test_no_event_is_lost_while_many_come() -> None:
    events = SlotEvents()
    watch = events.watch()
    seen: list[int] = []

    def listen() -> None:
        while (slot := watch.take(block=True)) is not None:
            seen.append(slot)

    listeners = [threading.Thread(target=listen) for _ in range(4)]
    for thread in listeners:
        thread.start()
    for slot in range(2000):
        events.tell(slot)
    while len(seen) < 2000:
        time.sleep(0.001)
    watch.close()
    for thread in listeners:
        thread.join(PATIENCE)
    assert sorted(seen) == list(range(2000))
