# Sourced before all else by scripts that mount small file systems: starts the script once more, in
# a mount namespace of its own, where that is allowed. PIPEBD_MOUNTS is "yes" there, and else empty.
if [ -z "${PIPEBD_MOUNTS+x}" ]; then
    for how in "unshare -m" "unshare -rm"; do
        if $how true 2> /dev/null; then PIPEBD_MOUNTS=yes exec $how bash "$0"; fi
    done
fi
PIPEBD_MOUNTS=${PIPEBD_MOUNTS:-}
