"""Node checks: each module asks questions and judges the answers; both are pure, somebody else does the asking.

A check is a module of this folder with `ask(subject) -> questions` and
`judge(subject, answers) -> outcomes`. The folder is the list of checks. Python 3.9, standard library:
the node program imports the modules that the controller names.
"""
