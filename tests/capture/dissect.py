"""Prints each packet of a capture as scapy dissects it: a line with its ends and its data in hex."""

import sys

from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6  # noqa: F401, which makes Ether know it
from scapy.utils import PcapReader

with PcapReader(sys.argv[1]) as packets:
    for packet in packets:
        ip, tcp = packet.payload, packet[TCP]
        data = bytes(tcp.payload)[: len(ip) - 4 * (ip.ihl if ip.version == 4 else 10) - 4 * tcp.dataofs]
        print(f"{ip.src}.{tcp.sport} > {ip.dst}.{tcp.dport}: {data.hex()}")
