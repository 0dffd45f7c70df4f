"""Tests of a real fleet, with testinfra: what is declared is there, and traffic flows.

The ready-made suite checks each node against its inventory, as `cni-provision verify` does:

    pytest --pyargs cni_provision.testinfra --hosts=ansible://all --ansible-inventory=hosts.yaml

Tests of your own get `host.cni` with `pytest_plugins = ["cni_provision.testinfra.plugin"]` in their `conftest.py`:

>>> host.cni.network("pods").plugins
('bridge', 'host-local', 'portmap')
>>> host.cni.plugin("bridge").owner
'cni-provision'
>>> host.cni.probe("pods")
(CheckOutcome(check='containers', outcome='pass', message='10.42.0.2 -> 10.42.0.3 0.3 ms', network='pods'), …)
>>> host.cni.leases, host.cni.attachments
((), ())

Every node is asked once, all at the same time, over its own connection (`ansible_*` variables); the inventory is the
one that testinfra's ansible backend uses, else `$CNI_PROVISION_INVENTORY`, else the usual one.
"""
