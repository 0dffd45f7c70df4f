#!/bin/sh
cat <<'JSON'
{
  "web": {"hosts": ["n1", "n2"], "vars": {"t": "{{ inventory_hostname }}", "n": 1, "f": 1.5, "z": null, "b": true}, "children": ["sub"]},
  "sub": {"hosts": ["n3"], "vars": {"ansible_group_priority": 3, "l": ["{{ n }}", {"k": "{{ t }}"}]}},
  "bare": ["n1", "n4"],
  "lonely": {"x": "{{ not_evaluated }}", "y": [1, "{{ neither }}"]},
  "empty": {"hosts": []},
  "only_vars": {"vars": {"q": 1}},
  "_meta": {"hostvars": {
    "n1": {"u": {"__ansible_unsafe": "{{ t }}"}, "n": 2, "d": {"a": {"b": "{{ n }}"}}},
    "n9": {"never": 1}}}
}
JSON
