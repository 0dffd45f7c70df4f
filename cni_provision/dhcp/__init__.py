"""DHCPv4 for containers: a daemon that gets leases and keeps them, and how the `dhcp` plugin asks it.

packet     messages of DHCP as bytes
exchange   messages sent and awaited on an interface of a container
lease      one lease: got, renewed, given back; the interface follows it
store      leases as files, so that a daemon that was started anew goes on with them
daemon     the process: its options, its socket, a thread for each lease
question   what plugin and daemon say to each other
"""
