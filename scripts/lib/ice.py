"""ICE peers behind two NATs of each class: `ice.py SIDE SOCKET ADDRESS HOST PORT`, run on both sides of the edge at once.

SIDE is `calls` or `answers`. Each side has nine addresses from ADDRESS on, one behind a pool of each class (mapping, then filtering, as in
CLASSES), and each of one side's is a peer of each of the other's: 81 connections of aioice at once. Only what a STUN server at HOST:PORT saw
is told to the other side, over the Unix socket SOCKET; there is no relay. The calling side compares with `predicted` and prints a
line a pair that differs. Exit 0; 3 when a pair connects or fails against the prediction; 4 when a mapping could not even be learnt."""

import asyncio
import ipaddress
import itertools
import json
import sys

from aioice import Candidate, Connection, stun

INDEPENDENT, ADDRESS, PORT = "endpoint-independent", "address-dependent", "address-and-port-dependent"
CLASSES = list(itertools.product((INDEPENDENT, ADDRESS, PORT), repeat=2))
SHORT = {INDEPENDENT: "EI", ADDRESS: "AD", PORT: "APD"}
# A check is sent at 0, 0.5 and 1.5 s and given up at 3.5 s. An agent whose checks have all failed still waits for those of its peer
# (RFC 8863): candidates may come until then.
stun.RETRY_MAX = 2
PATIENCE, SECONDS = 4, 6


def predicted(calling, answering):
    """Whether two peers connect without a relay, by RFC 4787 sections 4.1 and 5. The answering one speaks first.

    Each sends from a mapping towards the other's reflexive address, the mapping that the other made towards the STUN server.

    | one        | other      |
    |------------|------------|
    | EI mapping | EI mapping | connects: both mappings are the reflexive ones, and each has sent to the other's before long
    | EI/EI or AD| dependent  | connects: other's checks come from a port that one never heard of, but from an address that it has sent to
    | EI/APD     | dependent  | fails: other's checks come from a port that one has not sent to, and one's checks reach the mapping towards
    |            |            | the STUN server, which has sent to nobody else. But if that mapping takes strangers in, and one speaks
    |            |            | first, then the session that its check opens there is the one that other answers by, and they connect
    | dependent  | dependent  | connects if either filters nothing: the mapping towards the STUN server takes the other's check in, and
    |            |            | the answer goes back the way that it came. Otherwise fails: that mapping has sent to nobody else
    """
    for one, other in ((calling, answering), (answering, calling)):
        if one[0] == INDEPENDENT and (other[0] == INDEPENDENT or one[1] != PORT):
            return True
        if one[0] != INDEPENDENT and other[0] != INDEPENDENT and one[1] == INDEPENDENT:
            return True
    return answering == (INDEPENDENT, PORT) and calling[1] == INDEPENDENT


async def gathered(address, server, calls):
    """A connection from this host address alone, with its reflexive candidate."""
    connection = Connection(ice_controlling=calls, stun_server=server, use_ipv6=False)
    connection._local_candidates = await connection.get_component_candidates(component=1, addresses=[str(address)])
    connection._local_candidates_start = connection._local_candidates_end = True
    return connection


def offer(connection):
    reflexive = [candidate.to_sdp() for candidate in connection.local_candidates if candidate.type == "srflx"]
    return [connection.local_username, connection.local_password, reflexive]


async def connected(connection, told, calls):
    """Whether both ends get what the other one says."""
    connection.remote_username, connection.remote_password, candidates = told
    for candidate in candidates:
        await connection.add_remote_candidate(Candidate.from_sdp(candidate))
    await asyncio.sleep(0.3 if calls else 0)
    connecting = asyncio.create_task(connection.connect())
    await asyncio.wait({connecting}, timeout=PATIENCE)
    await connection.add_remote_candidate(None)
    try:
        async with asyncio.timeout(SECONDS - PATIENCE):
            await connecting
            await connection.send(b"over the top" if calls else b"well heard")
            return await connection.recv() == (b"well heard" if calls else b"over the top")
    except (ConnectionError, TimeoutError):
        return False


async def rendezvous(path, calls):
    if not calls:
        arrived = asyncio.get_running_loop().create_future()
        await asyncio.start_unix_server(lambda *streams: arrived.set_result(streams), path, limit=1 << 20)
        return await asyncio.wait_for(arrived, SECONDS)
    for _ in range(100):
        try:
            return await asyncio.open_unix_connection(path, limit=1 << 20)
        except OSError:
            await asyncio.sleep(0.05)
    raise ConnectionError("the other side does not run")


async def exchanged(streams, said):
    reader, writer = streams
    writer.write(json.dumps(said).encode() + b"\n")
    await writer.drain()
    return json.loads(await asyncio.wait_for(reader.readline(), 3 * SECONDS))


def compared(results):
    """Prints what differs from the prediction; how many do."""
    wrong = 0
    for (calling, answering), is_connected in results.items():
        if is_connected != predicted(calling, answering):
            wrong += 1
            names = " and ".join(f"{SHORT[mapping]}/{SHORT[filtering]}" for mapping, filtering in (calling, answering))
            print(f"{names} {'connect' if is_connected else 'do not connect'}", file=sys.stderr)
    good = sum(results.values())
    print(f"{good} of {len(results)} pairs connect, {len(results) - good} do not, {wrong} against the prediction")
    return wrong


async def main(side, path, address, host, port):
    calls = side == "calls"
    first, server = ipaddress.IPv4Address(address), (host, int(port))
    pairs = list(itertools.product(range(len(CLASSES)), repeat=2))
    own = [calling if calls else answering for calling, answering in pairs]
    streams = await rendezvous(path, calls)
    connections = await asyncio.gather(*(gathered(first + number, server, calls) for number in own))
    offers = [offer(connection) for connection in connections]
    told = await exchanged(streams, offers)
    status = 0
    if not all(candidates for _, _, candidates in offers + told):
        print("a mapping could not be learnt", file=sys.stderr)
        status = 4
    else:
        own_results = await asyncio.gather(*(connected(c, t, calls) for c, t in zip(connections, told)))
        other_results = await exchanged(streams, own_results)
        if calls:
            both = [a and b for a, b in zip(own_results, other_results)]
            status = 3 if compared({(CLASSES[a], CLASSES[b]): result for (a, b), result in zip(pairs, both)}) else 0
    await asyncio.gather(*(connection.close() for connection in connections))
    return status


sys.exit(asyncio.run(main(*sys.argv[1:])))
