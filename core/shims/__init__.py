"""Shims from the daemon's side: where they live, how they are started, adopted, watched and ended.

`bundle` draws the directories, `shim` is one process and the connection to it, `client` its calls in our types,
`leftovers` ends what a dead one leaves, `manager` does all that by sandbox id.
"""
