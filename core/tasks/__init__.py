"""Tasks over shims: `tasks` is the contract, `service` keeps it, `exits` sees to it that each exit is told once."""
