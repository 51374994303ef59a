"""Resolves a name in one of several ways, then sends 1000 bytes to its address: WAY NAME PORT SERVER."""

import os
import socket
import struct
import sys

way, name, port, server = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def query(kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0x1234, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def address(answer):
    """Data of the first record that is an address: type, class, four bytes of TTL and two of length before it."""
    at = answer.index(b"\0\1\0\1", len(query(1))) + 10
    return socket.inet_ntop(socket.AF_INET, answer[at : at + 4])


if way == "glibc":
    addr = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][4][0]
else:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    if way == "unconnected":  # as musl does
        udp.sendto(query(1), (server, 53))
        addr = address(udp.recvfrom(4096)[0])
    elif way == "message":
        udp.sendto(query(1), (server, 53))
        addr = address(udp.recvmsg(4096)[0])
    else:  # as Go does
        udp.connect((server, 53))
        udp.send(query(1))
        addr = address(os.read(udp.fileno(), 4096))
tcp = socket.create_connection((addr, port))
tcp.sendall(b"x" * 1000)
tcp.recv(1)
