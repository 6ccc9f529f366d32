"""Hostile programs. `attempt` gives what only success can give; `proof` says, outside, what that is; each layer in
`REFUSED_BY` refuses it by itself."""
