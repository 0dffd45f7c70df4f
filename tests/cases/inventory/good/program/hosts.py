#!/usr/bin/env python3
import json
import sys

GROUPS = {
    "web": {"hosts": ["node1", "node2"], "vars": {"port": 80, "url": "http://{{ inventory_hostname }}:{{ port }}"}},
    "db": ["node2"],
    "fleet": {"children": ["web", "db"], "vars": {"cni_networks": [{"name": "lo", "template": "loopback"}]}},
    "_meta": {"hostvars": {"node1": {"port": 8080, "raw": {"__ansible_unsafe": "{{ port }}"}}, "stranger": {"x": 1}}},
}
print(json.dumps(GROUPS if sys.argv[1] == "--list" else {}))
