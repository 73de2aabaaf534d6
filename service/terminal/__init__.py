"""The commands of `l0` that talk to a service: submit and follow jobs, fetch results. A command is parse, ask, show.

`app` is in `commands`; `calls` holds what is asked of a service, `connection` to which one, `ends` how a command ends.
"""
