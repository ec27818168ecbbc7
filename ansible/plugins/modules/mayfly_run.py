#!/usr/bin/python3
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: Apache-2.0
"""Starts a run of Mayfly, waits for runs, returns their summaries."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: mayfly_run
short_description: Start a run of Mayfly, or wait for one
description:
  - Starts a job in the background (C(mayfly submit)) and waits for its end, by C(mayfly status).
  - With O(run_id) nothing is started; the run that has this id is waited for.
  - In check mode the job file is only read (C(mayfly run --dry-run)).
author:
  - The Mayfly authors
options:
  job:
    description: The job file on the host. It or O(run_id) is needed.
    type: path
  run_id:
    description: A run that was started already.
    type: str
  params:
    description: Keys of the job file and their values, as with C(--set). Values are text, numbers, lists or mappings.
    type: dict
    default: {}
  hosts:
    description: Hosts of workers, C(user@host:port/slots) each; empty means what the job file says.
    type: list
    elements: str
    default: []
  inventory:
    description: An Ansible inventory on the host, C(FILE) or C(FILE:GROUP), instead of O(hosts).
    type: str
  identity:
    description: File of the private key to log in to the workers' hosts.
    type: path
  executable:
    description: The program.
    type: path
    default: mayfly
  join:
    description:
      - If the same job was started by this module before, and nobody has seen that run end, take that run instead of
        starting another. One that was interrupted is resumed.
    type: bool
    default: false
  forget:
    description:
      - Whether the good end of a run counts as seen, so that O(join) starts another one. False is for a task that may
        outlive its playbook (C(async)); one without it follows when the result is in safety.
    type: bool
    default: true
  wait:
    description: Wait for the end. A run that has failed or was cancelled then fails the task.
    type: bool
    default: true
  timeout:
    description: How many seconds to wait at most; 0 means without limit. The run goes on.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Count words
  mayfly.mayfly.mayfly_run:
    job: /home/mayfly/jobs/words/job.yaml
    params:
      split.lines: [books.txt]
    hosts: [etl@10.0.0.5, etl@10.0.0.6/4]
  register: words
"""

RETURN = r"""
run_id:
  description: The run; empty in check mode.
  returned: success
  type: str
state:
  description: Its state when the task ended.
  returned: success
  type: str
joined:
  description: Whether a run was taken that was there already.
  returned: success
  type: bool
summary:
  description: What C(summary.json) of the run says; empty while it goes on.
  returned: success
  type: dict
"""

import hashlib
import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

ENDED = ("succeeded", "partial", "failed", "cancelled")
GOOD = ("succeeded", "partial")
STUCK = ("interrupted", "unreadable")


class Mayfly:
    """The program, called with the module's parameters."""

    def __init__(self, module):
        self.module = module
        self.params = module.params

    def call(self, *arguments):
        """Standard output; the task fails, with what the program has said, when it does."""
        code, out, err = self.module.run_command([self.params["executable"]] + list(arguments))
        if code != 0:
            self.module.fail_json(msg="mayfly %s: exit code %d: %s" % (arguments[0], code, err.strip()), rc=code)
        return out

    def job_options(self):
        """What `run` and `submit` have in common."""
        options = [self.params["job"]]
        for key, value in sorted(self.params["params"].items()):
            options.append("--set=%s=%s" % (key, json.dumps(value)))
        if self.params["hosts"]:
            options.append("--hosts=%s" % ",".join(self.params["hosts"]))
        if self.params["inventory"]:
            options.append("--inventory=%s" % self.params["inventory"])
        if self.params["identity"]:
            options.append("--identity=%s" % self.params["identity"])
        return options

    def status(self, run_id):
        return json.loads(self.call("status", run_id, "--json"))


class Note:
    """Which run was started for these parameters, until somebody has seen it end: a file a job."""

    def __init__(self, options):
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        self.folder = os.path.join(state, "mayfly-ansible")
        text = json.dumps([os.path.realpath(options[0])] + options[1:])
        self.path = os.path.join(self.folder, hashlib.sha256(text.encode()).hexdigest())

    def read(self):
        try:
            with open(self.path) as file:
                return file.read().strip()
        except (IOError, OSError):
            return ""

    def write(self, run_id):
        if not os.path.isdir(self.folder):
            os.makedirs(self.folder, 0o700)
        with open(self.path + ".new", "w") as file:
            file.write(run_id + "\n")
        os.rename(self.path + ".new", self.path)


def forget(run_id):
    """The end of this run was seen: the next task starts another one."""
    folder = Note(["/"]).folder
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        with open(path) as file:
            is_it = file.read().strip() == run_id
        if is_it:
            os.remove(path)


def take_noted(mayfly, note):
    """The run that was started before and that nobody has seen end; nothing when there is none."""
    run_id = note.read()
    known = [run["run_id"] for run in json.loads(mayfly.call("ls", "--json") or "[]")]
    return run_id if run_id in known else ""


def start(mayfly):
    """The run's id, and whether it was there already."""
    options = mayfly.job_options()
    note = Note(options)
    run_id = take_noted(mayfly, note) if mayfly.params["join"] else ""
    if run_id:
        return run_id, True
    run_id = mayfly.call("submit", *options).strip()
    if mayfly.params["join"]:
        note.write(run_id)
    return run_id, False


def await_end(mayfly, run_id):
    """The last status: of a run that has ended, that is stuck, or that takes too long."""
    limit = time.time() + mayfly.params["timeout"] if mayfly.params["timeout"] > 0 else None
    pause = 0.1
    while True:
        status = mayfly.status(run_id)
        if status["state"] in ENDED + STUCK or (limit is not None and time.time() > limit):
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, 5)


def judge(module, run_id, status):
    """Fails the task unless the run has ended well."""
    state = status["state"]
    told = {"run_id": run_id, "state": state, "summary": status.get("summary") or {}}
    if state in ENDED and (module.params["forget"] or state not in GOOD):
        forget(run_id)
    if state in ENDED and state not in GOOD:
        module.fail_json(msg="run %s has ended: %s; see `mayfly status %s --explain`" % (run_id, state, run_id), **told)
    if state in STUCK:
        module.fail_json(msg="run %s is %s; `mayfly resume %s` goes on" % (run_id, state, run_id), **told)
    if state not in ENDED:
        module.fail_json(msg="run %s goes on after %d s: %s" % (run_id, module.params["timeout"], state), **told)


def main():
    module = AnsibleModule(
        argument_spec={
            "job": {"type": "path"},
            "run_id": {"type": "str"},
            "params": {"type": "dict", "default": {}},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "inventory": {"type": "str"},
            "identity": {"type": "path"},
            "executable": {"type": "path", "default": "mayfly"},
            "join": {"type": "bool", "default": False},
            "forget": {"type": "bool", "default": True},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 0},
        },
        required_one_of=[("job", "run_id")],
        mutually_exclusive=[("job", "run_id"), ("hosts", "inventory")],
        supports_check_mode=True,
    )
    mayfly = Mayfly(module)
    if module.check_mode and module.params["job"]:
        mayfly.call("run", "--dry-run", *mayfly.job_options())
        module.exit_json(changed=True, run_id="", state="", joined=False, summary={})
    run_id, joined = module.params["run_id"], True
    if not run_id:
        run_id, joined = start(mayfly)
    status = mayfly.status(run_id)
    if status["state"] == "interrupted" and module.params["join"] and not module.check_mode:
        mayfly.call("resume", "--detach", run_id)
        status = mayfly.status(run_id)
    if module.params["wait"] and not module.check_mode:
        status = await_end(mayfly, run_id)
        judge(module, run_id, status)
    module.exit_json(
        changed=not joined, run_id=run_id, state=status["state"], joined=joined, summary=status.get("summary") or {}
    )


if __name__ == "__main__":
    main()
