#!/bin/sh
# install.sh install|uninstall: called by the Makefile, which sets the folders
#
#     PREFIX BINDIR LIBDIR INCLUDEDIR PKGCONFIGDIR DATADIR MANDIR COMPLETIONDIR DOCDIR
#
# and BUILD, VERSION, SOVERSION and LIBS or (to uninstall) TOOLS. DESTDIR is put before every path,
# but is no part of what the pkg-config file says.
#
#     BINDIR         pipebd-NAME
#     LIBDIR         libpipebd.a, libpipebd.so.VERSION and its links; pipebd/ with the CUDA plug-in
#     INCLUDEDIR     pipebd.h
#     DATADIR/pipebd workloads, traces, devices, capture_torch.py, export_torch.py: found by the
#     tools as
#                    BINDIR/../share/pipebd, wherever that is moved to
#     MANDIR/man1    a page a tool and subcommand
#     COMPLETIONDIR  of bash, a file a tool
#     DOCDIR         the documents
set -eu

to=${DESTDIR:-}
bin=$to$BINDIR lib=$to$LIBDIR include=$to$INCLUDEDIR pc=$to$PKGCONFIGDIR share=$to$DATADIR/pipebd
man=$to$MANDIR/man1 completion=$to$COMPLETIONDIR doc=$to$DOCDIR
shared=libpipebd.so

# under FOLDER: as ${prefix}/... where it is within PREFIX.
under() {
    case $1 in
    "$PREFIX"/*) printf '${prefix}/%s' "${1#"$PREFIX"/}" ;;
    *)           printf '%s' "$1" ;;
    esac
}

# The tools look in their own folder's sister, so a package may be moved.
check_folders() {
    for folder in "$PREFIX" "$BINDIR" "$LIBDIR" "$INCLUDEDIR" "$PKGCONFIGDIR" "$DATADIR" "$MANDIR" \
        "$COMPLETIONDIR" "$DOCDIR"; do
        case $folder in
        /*) ;;
        *) echo "install: \"$folder\": expected a path from / on" >&2; exit 2 ;;
        esac
    done
    if [ "$DATADIR" != "$(dirname "$BINDIR")/share" ]; then
        echo "install: DATADIR is $DATADIR, expected $(dirname \
            "$BINDIR")/share: the tools in BINDIR look there" >&2
        exit 2
    fi
}

put_data() {
    install -d "$share/workloads/pytorch" "$share/traces/devices" "$share/traces/models"
    install -m 644 workloads/*.json workloads/*.safetensors "$share/workloads/"
    install -m 755 workloads/export_torch.py workloads/students_home.py \
        workloads/compare_outputs.py "$share/workloads/"
    install -m 644 workloads/tensor_files.py "$share/workloads/"
    install -m 644 workloads/pytorch/*.py "$share/workloads/pytorch/"
    install -m 644 traces/*.json "$share/traces/"
    install -m 644 traces/devices/*.json "$share/traces/devices/"
    install -m 755 traces/capture_torch.py "$share/traces/"
    install -m 644 traces/torch_costs.py traces/trace_json.py "$share/traces/"
    install -m 644 traces/models/*.py "$share/traces/models/"
}

put_documents() {
    install -d "$man" "$completion" "$doc"
    install -m 644 "$BUILD"/man/*.1 "$man/"
    for tool in "$BUILD"/bin/pipebd-*; do
        if [ -f "$tool" ]; then
            install -m 644 "$BUILD/completion/pipebd" "$completion/$(basename "$tool")"
        fi
    done
    install -m 644 README.md CHANGELOG.md LICENSE NOTICE docs/*.md docs/example.c "$doc/"
}

put_library() {
    install -d "$lib" "$include" "$pc"
    install -m 644 "$BUILD/lib/libpipebd.a" "$lib/"
    install -m 755 "$BUILD/lib/$shared" "$lib/$shared.$VERSION"
    ln -sf "$shared.$VERSION" "$lib/$shared.$SOVERSION"
    ln -sf "$shared.$SOVERSION" "$lib/$shared"
    install -m 644 include/pipebd.h "$include/"
    if [ -f "$BUILD/lib/pipebd/libpipebd-cuda.so" ]; then
        install -d "$lib/pipebd"
        install -m 755 "$BUILD/lib/pipebd/libpipebd-cuda.so" "$lib/pipebd/"
    fi
    cat > "$pc/pipebd.pc" <<END
prefix=$PREFIX
libdir=$(under "$LIBDIR")
includedir=$(under "$INCLUDEDIR")

Name: pipebd
Description: Planner and simulator of blockwise distillation schedules
Version: $VERSION
Libs: -L\${libdir} -lpipebd
Libs.private: $LIBS -pthread
Cflags: -I\${includedir}
END
    chmod 644 "$pc/pipebd.pc"
}

put_all() {
    check_folders
    install -d "$bin"
    for tool in "$BUILD"/bin/pipebd-*; do
        if [ -f "$tool" ]; then install -m 755 "$tool" "$bin/"; fi
    done
    put_library
    put_data
    put_documents
    echo "Installed into $to$PREFIX."
}

# remove_from FOLDER NAME...: files, if they are there, then folders that are left empty.
remove_from() {
    folder=$1
    shift
    for name in "$@"; do rm -f "$folder/$name"; done
    rmdir "$folder" 2>/dev/null || true
}

# names FOLDER PATTERN...: what the sources have there, without the folder.
names() {
    # shellcheck disable=SC2048,SC2086  # patterns
    (cd "$1" && shift && ls -d $* 2>/dev/null) || true
}

# shellcheck disable=SC2046  # names without spaces
remove_all() {
    # shellcheck disable=SC2086
    for tool in ${TOOLS:-}; do
        rm -f "$bin/$tool" "$completion/$tool" "$man/$tool.1" "$man/$tool"-*.1
    done
    rm -f "$lib/libpipebd.a" "$lib/$shared" "$lib/$shared.$SOVERSION" "$lib/$shared.$VERSION" \
        "$include/pipebd.h" "$pc/pipebd.pc" "$lib/pipebd/libpipebd-cuda.so"
    rmdir "$lib/pipebd" 2>/dev/null || true
    remove_from "$doc" README.md CHANGELOG.md LICENSE NOTICE $(names docs '*.md') example.c
    remove_from "$share/workloads/pytorch" $(names workloads/pytorch '*.py')
    remove_from "$share/workloads" $(names workloads '*.json' '*.safetensors') export_torch.py \
        students_home.py compare_outputs.py tensor_files.py
    remove_from "$share/traces/devices" $(names traces/devices '*.json')
    remove_from "$share/traces/models" $(names traces/models '*.py')
    remove_from "$share/traces" $(names traces '*.json') capture_torch.py torch_costs.py \
        trace_json.py
    rmdir "$share" 2>/dev/null || true
    echo "Removed from $to$PREFIX."
}

case ${1:-} in
install)   put_all ;;
uninstall) remove_all ;;
*) echo 'usage: make install | make uninstall' >&2; exit 2 ;;
esac
