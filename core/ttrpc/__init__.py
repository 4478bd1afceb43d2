"""ttrpc: protobuf calls over a unix socket, as containerd and its shims speak it (ttrpc PROTOCOL.md).

`frames` knows the bytes and no socket, `status` how our errors travel, `connection` frames on a socket; `client` and
`server` are the two ends. Unary calls and server streams; nothing here streams from client to server.
"""
