"""What plugins that attach interfaces share: a call (`cni`) on one side, the kernel (`net`) on the other.

options    keys that several plugins have
ipam       the addresses that another plugin gives
interface  an interface in the container: configured, described, compared, removed
pair       a veth pair between host and container, with its record and its masquerading
"""
