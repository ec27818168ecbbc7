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
    description:
      - Keys of the job file and their values, as with C(--set). Values are text, numbers, lists or mappings.
      - Everybody on the host can see them while the program starts. Secrets belong into the job file's C(secrets), which
        name a file or a variable.
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
      - If the same job was started by this module before with the same O(params), and nobody has seen that run end, take
        that run instead of starting another. One that was interrupted is resumed.
      - The job file's path and O(params) say what is the same job; the hosts may be other ones. Tasks that do this at the
        same time wait for each other, and take the same run.
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

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

ENDED = ("succeeded", "partial", "failed", "cancelled")
GOOD = ("succeeded", "partial")
STUCK = ("interrupted", "unreadable")
SUMMARY_SECONDS = 30


class Mayfly:
    """The program, called with the module's parameters."""

    def __init__(self, module):
        self.module = module
        self.params = module.params

    def fail(self, command, code, said):
        said = said.strip() or "it says nothing"
        self.module.fail_json(msg="mayfly %s: exit code %d: %s" % (command, code, said), rc=code)

    def call(self, *arguments):
        """Standard output; the task fails, with what the program has said, when it does."""
        code, out, err = self.module.run_command([self.params["executable"]] + list(arguments))
        if code != 0:
            self.fail(arguments[0], code, err)
        return out

    def ask(self, *arguments):
        """The same, of a command that prints JSON."""
        out = self.call(*arguments)
        try:
            return json.loads(out)
        except ValueError:
            self.module.fail_json(msg="mayfly %s did not print JSON: %s" % (arguments[0], out[:300]))

    def submit(self, path):
        """Its standard output is that file: the run's id is there, whatever becomes of this process meanwhile."""
        with open(path, "wb") as out:
            program = subprocess.Popen(
                [self.params["executable"], "submit"] + self.job_options(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
            )
            said = program.communicate()[1]
        if program.returncode != 0:
            self.fail("submit", program.returncode, said.decode("utf-8", "replace"))

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
        return self.ask("status", run_id, "--json")


class Note:
    """
    Which run was started of this job with these values, until somebody has seen it end: a file a job. A run that begins
    writes its id into another one, which then takes the place of the file; who is killed in between leaves that.
    """

    def __init__(self, job, params):
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        self.folder = os.path.join(state, "mayfly-ansible")
        text = json.dumps([os.path.realpath(job), params], sort_keys=True)
        self.path = os.path.join(self.folder, hashlib.sha256(text.encode()).hexdigest())
        self.new = self.path + ".new"

    @contextlib.contextmanager
    def locked(self):
        """One at a time. The lock is the folder's, so that no file is left of it."""
        if not os.path.isdir(self.folder):
            os.makedirs(self.folder, 0o700)
        lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self):
        """The ids that are noted, the newest first."""
        ids = []
        for path in (self.new, self.path):
            if os.path.exists(path):
                with open(path) as file:
                    ids.append(file.read().strip())
        return ids

    def settle(self):
        os.rename(self.new, self.path)


def forget(run_id):
    """The end of this run was seen: the next task starts another one."""
    folder = Note("/", {}).folder
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        with open(path) as file:
            is_it = file.read().strip() == run_id
        if is_it:
            os.remove(path)


def take_noted(mayfly, note):
    """The run that was started before and that nobody has seen end; nothing when there is none."""
    noted = note.read()
    known = [run["run_id"] for run in mayfly.ask("ls", "--json")] if noted else []
    return next((run_id for run_id in noted if run_id in known), "")


def start(mayfly):
    """The run's id, and whether it was there already."""
    if not mayfly.params["join"]:
        return mayfly.call("submit", *mayfly.job_options()).strip(), False
    note = Note(mayfly.params["job"], mayfly.params["params"])
    with note.locked():
        run_id = take_noted(mayfly, note)
        if run_id:
            return run_id, True
        mayfly.submit(note.new)
        note.settle()
        return note.read()[0], False


def check_params(module):
    """What the program would take for something else."""
    for key in module.params["params"]:
        if not key or "=" in key:
            module.fail_json(msg="params: '%s' is no key of a job file; expected one such as split.lines" % key)
    for host in module.params["hosts"]:
        if not host or "," in host:
            module.fail_json(msg="hosts: '%s' is no host; expected a list of user@host:port/slots" % host)
    if module.params["timeout"] < 0:
        module.fail_json(msg="timeout: expected a number of seconds, 0 for none; it is %d" % module.params["timeout"])
    if "/" not in module.params["executable"]:
        module.params["executable"] = module.get_bin_path(module.params["executable"], required=True)


def await_end(mayfly, run_id):
    """The last status: of a run that has ended, that is stuck, or that takes too long."""
    limit = time.time() + mayfly.params["timeout"] if mayfly.params["timeout"] > 0 else None
    pause = 0.1
    ended = None
    while True:
        status = mayfly.status(run_id)
        if status["state"] in STUCK or (limit is not None and time.time() > limit):
            return status
        if status["state"] in ENDED:
            # The summary is written a moment after the end; where the disk is full, never.
            ended = ended or time.time()
            if status.get("summary") or time.time() > ended + SUMMARY_SECONDS:
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
        why = told["summary"].get("reason") or status.get("reason")
        outcome = "%s: %s" % (state, why) if why else state
        module.fail_json(msg="run %s has ended, %s; see `mayfly status %s --explain`" % (run_id, outcome, run_id), **told)
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
    check_params(module)
    mayfly = Mayfly(module)
    if module.check_mode and module.params["job"]:
        mayfly.call("run", "--dry-run", *mayfly.job_options())
        module.exit_json(changed=True, run_id="", state="", joined=False, summary={})
    run_id, joined = module.params["run_id"], True
    if not run_id:
        try:
            run_id, joined = start(mayfly)
        except (IOError, OSError) as problem:
            module.fail_json(msg="the run cannot be started: %s" % problem)
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
