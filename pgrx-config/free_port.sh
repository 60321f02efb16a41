#!/bin/sh
# free_port.sh prints a port of the loopback address that nobody listens on.
set -eu

exec python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
