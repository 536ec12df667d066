# Sourced by scripts that keep tables: what a figure was made on.
device() { sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1; }
