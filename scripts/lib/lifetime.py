"""How long a UDP mapping lives: `lifetime.py serve PORT`, or `lifetime.py ask LOCAL-HOST HOST PORT LIFETIME`.

The server sends back when it is told to: a datagram of seconds, each answered after so long with the same number. The asker has three
mappings and tells them apart: one is left alone, one hears inbound packets only, one sends now and then. By RFC 4787 REQ-5 and REQ-6 (with
inbound refresh off) only the third outlives LIFETIME. Exit 0; 3 when a mapping that had to die lives, or the other way round."""

import asyncio
import sys

# Of the lifetime: when a mapping must live, and when it is dead for certain, the sweep included.
ALIVE, DEAD, LATER = (0.25, 0.5, 0.75), (1.5, 1.75), 2.0
ONCE, KEEP = 1.6, (0.5, 1.0, 1.5)


class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        for number in data.decode().split():
            asyncio.get_running_loop().call_later(float(number), self.transport.sendto, number.encode(), peer)


class Asker(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.heard.add(data.decode())

    def error_received(self, error):
        print(f"an ICMP error: {error!r}", file=sys.stderr)


async def serve(port):
    await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("0.0.0.0", int(port)))
    await asyncio.Event().wait()


async def ask(local, host, port, lifetime):
    lifetime = float(lifetime)
    wrong = []

    async def mapping(name, living, dead, keep=()):
        """Asks for answers at these times, and sends at those."""
        loop = asyncio.get_running_loop()
        transport, asker = await loop.create_datagram_endpoint(
            Asker, local_addr=(local, 0), remote_addr=(host, int(port)))
        numbers = {f"{time * lifetime:.3f}": time for time in living + dead}
        transport.sendto(" ".join(numbers).encode())
        for time in keep:
            loop.call_later(time * lifetime, transport.sendto, b" ")
        await asyncio.sleep((max(living + dead) + 0.1) * lifetime)
        for number, time in numbers.items():
            if (number in asker.heard) != (time in living):
                wrong.append(f"{name}: at {number} s it {'lives' if number in asker.heard else 'is dead'}")
        transport.close()

    await asyncio.gather(
        mapping("left alone", (), (ONCE,)),
        mapping("inbound only", ALIVE, DEAD),
        mapping("outbound too", ALIVE + DEAD + (LATER,), (), KEEP))
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 3
    print(f"{lifetime:g} s: inbound alone keeps none alive, outbound does")
    return 0


sys.exit(asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])) or 0)
