# Copyright: the cni-provision project
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = """
module: cni_provision_facts
short_description: Ask what of container networks is on a node
version_added: "0.1.0"
author: the cni-provision project (@cni-provision)
description:
  - Asks the node program over Ansible's connection and become, in one execution.
  - The Python package C(cni-provision) must be installed for Ansible's interpreter.
options: {}
attributes:
  check_mode:
    support: full
    description: Nothing is changed in any case.
  diff_mode:
    support: none
    description: Nothing is changed.
"""

EXAMPLES = """
- name: Ask what is on the node
  cni_provision_facts:
  become: true

- name: Show the plugins that are not ours
  ansible.builtin.debug:
    msg: "{{ cni_provision.plugins | rejectattr('owner') | map(attribute='name') }}"
"""

RETURN = """
ansible_facts:
  description: Facts of the node.
  returned: when the node answered
  type: dict
  contains:
    cni_provision:
      description: >-
        C(generation), and lists of C(plugins) (name, digest, versions, owner), C(networks) (name, file, plugins),
        C(attachments) (network, container, addresses) and C(leases).
      type: dict
"""
