# Copyright: the cni-provision project
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = """
module: cni_provision
short_description: Bring a node's container networks to what is declared
version_added: "0.1.0"
author: the cni-provision project (@cni-provision)
description:
  - Renders on the controller, where the Python package C(cni-provision) must be installed for Ansible's interpreter.
  - Asks the node program over Ansible's connection and become; one execution when nothing changes, two otherwise.
  - What is declared are the variables C(cni_networks), C(cni_plugins), C(cni_runtime), C(cni_kernel), C(cni_prune),
    C(cni_adopt), C(cni_verify), C(cni_owner) and C(cni_state), each with C(__SUFFIX) variables merged into it.
options:
  verb:
    description:
      - C(check) looks at the whole play before a node is asked; C(apply) brings the node to what is declared;
        C(verify) proves that it works; C(rollback) returns to an earlier generation.
    type: str
    choices: [apply, check, verify, rollback]
    default: apply
  adopt:
    description: Of C(apply), files that are there already and may be taken over.
    type: list
    elements: str
    default: []
  force:
    description: Do it although containers are attached to what goes.
    type: bool
    default: false
  generation:
    description: Of C(rollback), where to go; the last generation that verified if absent.
    type: int
  lock_timeout:
    description: Seconds to wait for another run on the same node.
    type: float
    default: 0.0
  probe:
    description: Of C(verify), whether throwaway containers send traffic.
    type: bool
    default: true
  repair:
    description: Of C(verify), whether rules that somebody flushed are made again first.
    type: bool
    default: false
  rollback:
    description: Of C(apply), whether a node that does not verify goes back to what it was.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: The node says what it would change, and changes nothing.
  diff_mode:
    support: full
    description: As C(cni-provision diff) shows it.
  async:
    support: partial
    description: The job has ended when the task has begun, because a node is asked only once or twice.
"""

EXAMPLES = """
- name: Bring the node to what is declared
  cni_provision:
  become: true

- name: Go back to what verified last
  cni_provision:
    verb: rollback
"""

RETURN = """
generation:
  description: The node's generation.
  returned: when the node answered
  type: int
changes:
  description: What was changed, or would be with C(--check).
  returned: when the node answered
  type: list
  elements: dict
  sample:
    - path: /etc/cni/net.d/10-pods.conflist
      sign: "+"
      kind: conflist
      after: 0644 sha256:3b0c44298fc1
findings:
  description: What the node left alone and you should know.
  returned: when the node answered
  type: list
  elements: dict
checks:
  description: What was verified, with C(outcome) C(pass), C(fail) or C(skip).
  returned: when the node answered
  type: list
  elements: dict
rolled_back:
  description: Whether the node went back to what it was, because it did not verify.
  returned: when the node answered
  type: bool
"""
