"""Tells every client which address and port it is seen from: `echo_server.py PORT`, TCP (a line each) and UDP (a datagram each)."""

import asyncio
import sys


def seen(peer):
    return f"{peer[0]}:{peer[1]}\n".encode()


async def serve_stream(reader, writer):
    try:
        while await reader.readline():
            writer.write(seen(writer.get_extra_info("peername")))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.transport.sendto(seen(peer), peer)


async def main(port):
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port))
    server = await asyncio.start_server(serve_stream, "0.0.0.0", port, backlog=1024)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
