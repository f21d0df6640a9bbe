"""The wire as a black box: HTTP over real sockets, against any server."""
