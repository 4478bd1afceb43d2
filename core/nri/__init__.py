"""NRI, the Node Resource Interface: plugins that are told of pods and containers, and may change these.

`nri` is the contract. `service` lets plugins in, on its socket or because they are `installed`; `reception` receives
them. `mux` knows the bytes of two connections on one and no socket, `trunk` carries them; `plugin` is one plugin,
`plugins` are all in their order. `adjustments`, `updates`, `claims` and `owners` make one answer of many, and refuse
what contradicts itself.
"""
