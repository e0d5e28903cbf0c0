"""Holds many TCP connections at once: `connections.py COUNT HOST PORT COMMAND` opens them all, exchanges a line on
each, runs the shell COMMAND while all stand, then checks that each still answers. Prints one line: how many, and from how many
public addresses. Exit 0, or 3 when a connection was not established or did not last."""

import asyncio
import subprocess
import sys

SECONDS = 5


async def exchange(connection):
    reader, writer = connection
    writer.write(b"hello\n")
    answer = await asyncio.wait_for(reader.readline(), SECONDS)
    if not answer:
        raise ConnectionError("closed by the other end")
    return answer.decode().strip()


async def main(count, host, port, command):
    try:
        opening = [asyncio.wait_for(asyncio.open_connection(host, port), SECONDS) for _ in range(count)]
        connections = await asyncio.gather(*opening)
        first = await asyncio.gather(*map(exchange, connections))
    except (OSError, asyncio.TimeoutError) as error:
        print(f"not established: {error!r}", file=sys.stderr)
        return 3
    if subprocess.run(command, shell=True).returncode != 0:
        return 1
    try:
        again = await asyncio.gather(*map(exchange, connections))
    except (OSError, asyncio.TimeoutError) as error:
        print(f"did not last: {error!r}", file=sys.stderr)
        return 3
    if first != again or len(set(first)) != count:
        print("a connection changed its public mapping, or two share one", file=sys.stderr)
        return 3
    addresses = {mapping.rsplit(":", 1)[0] for mapping in first}
    print(f"{count} connections at once, from {len(addresses)} public address(es)")
    return 0


sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])))
