#!/bin/sh
# library.sh NAME: whether a library can be used, in a line on standard output:
#
#     found
#     unfit VERSION: WANTED        it is there, too old or too new
#     missing
#
# library.sh version NAME: its version. library.sh flags NAME: what compiles and links with it.
#
# NAME is jansson, cmocka, glpk, dnnl, jpeg, zlib, sqlite or mpi. The Makefile, config.sh and
# deps.sh ask here. Libraries are tried by compiling and linking, since not all have a pkg-config
# file everywhere. From the environment: CC, CPPFLAGS, LDFLAGS, PKG_CONFIG.
set -u

CC=${CC:-cc} PKG_CONFIG=${PKG_CONFIG:-pkg-config}

# flags_of PACKAGE FLAGS: pkg-config's, or FLAGS where it does not know the package.
flags_of() { "$PKG_CONFIG" --cflags --libs "$1" 2>/dev/null || echo "$2"; }

# The names that MPIs have in pkg-config: Open MPI's, MPICH's, any.
mpi_package() {
    for package in ompi-c mpi-c mpich mpi; do
        if "$PKG_CONFIG" --exists "$package" 2>/dev/null; then echo "$package"; return; fi
    done
}

# Sets headers; version: macros; fits: what the preprocessor has to find true, wanted in words;
# calls: functions that are used; flags.
describe() {
    version='' fits=1 wanted=''
    case $1 in
    jansson)
        headers=jansson.h calls='json_loadb json_object_iter' flags=$(flags_of jansson -ljansson)
        version='JANSSON_MAJOR_VERSION JANSSON_MINOR_VERSION JANSSON_MICRO_VERSION'
        fits='JANSSON_VERSION_HEX >= 0x020b00' wanted='2.11 or later' ;;
    cmocka)
        headers='stdarg.h stddef.h setjmp.h stdint.h cmocka.h' calls=_cmocka_run_group_tests \
            flags=$(flags_of cmocka -lcmocka) ;;
    glpk)
        headers=glpk.h calls='glp_intopt glp_ios_best_node glp_free_env' flags=-lglpk
        version='GLP_MAJOR_VERSION GLP_MINOR_VERSION'
        fits='GLP_MAJOR_VERSION > 4 || GLP_MAJOR_VERSION == 4 && GLP_MINOR_VERSION >= 50' \
            wanted='4.50 or later' ;;
    dnnl)
        headers=oneapi/dnnl/dnnl.h flags='-ldnnl -lgomp'
        calls='dnnl_engine_create dnnl_primitive_execute dnnl_reorder_primitive_desc_create'
        version='DNNL_VERSION_MAJOR DNNL_VERSION_MINOR DNNL_VERSION_PATCH'
        fits='DNNL_VERSION_MAJOR == 3 || DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR >= 6' \
            wanted='3.x, or 2.6 and later' ;;
    jpeg)
        headers='stdio.h jpeglib.h' calls='jpeg_CreateDecompress jpeg_read_scanlines jpeg_mem_src' \
            flags=-ljpeg
        version=JPEG_LIB_VERSION fits='JPEG_LIB_VERSION >= 62' wanted='62 or later' ;;
    zlib)
        headers=zlib.h calls='gzopen gzread' flags=-lz \
            version='ZLIB_VER_MAJOR ZLIB_VER_MINOR ZLIB_VER_REVISION'
        fits='ZLIB_VERNUM >= 0x1200' wanted='1.2 or later' ;;
    sqlite)
        headers=sqlite3.h calls='sqlite3_open_v2 sqlite3_prepare_v2' flags=-lsqlite3 \
            version=SQLITE_VERSION_NUMBER
        fits='SQLITE_VERSION_NUMBER >= 3007000' wanted='3.7 or later' ;;
    mpi)
        headers=mpi.h calls='MPI_Init_thread MPI_Testsome' flags=$(flags_of "$(mpi_package)" -lmpi)
        version='MPI_VERSION MPI_SUBVERSION' fits='MPI_VERSION >= 3' wanted='3.0 or later' ;;
    *)
        echo 'usage: scripts/library.sh [flags|version] jansson|cmocka|glpk|dnnl|jpeg|zlib|sqlite|mpi' >&2
        exit 2 ;;
    esac
}

# program CONDITION CALL...: one that includes the headers, needs the condition and links the
# functions named.
program() {
    # shellcheck disable=SC2086  # a list
    printf '#include <%s>\n' $headers
    printf '#if !(%s)\n#error unfit\n#endif\n' "$1"
    shift
    echo 'typedef void Function(void);'
    echo 'int main(void) { Function *volatile call = 0;'
    for call; do echo "call = (Function *)$call;"; done
    echo 'return call != 0; }'
}

# builds: what comes on standard input links.
# shellcheck disable=SC2086  # flags are words
builds() { "$CC" ${CPPFLAGS:-} -x c - -x none -o /dev/null ${LDFLAGS:-} $flags >/dev/null 2>&1; }

# In numbers, as the preprocessor has them behind the headers.
version_of() {
    # shellcheck disable=SC2086
    if [ -n "$version" ]; then
        { printf '#include <%s>\n' $headers; echo "the_version $version"; } |
            "$CC" ${CPPFLAGS:-} $flags -E -P -x c - 2>/dev/null | sed -n 's/^the_version //p' \
                | tr -d '()' | tr ' ' .
    else "$PKG_CONFIG" --modversion "$1" 2>/dev/null || echo 'of unknown version'; fi
}

answer() {
    # shellcheck disable=SC2086  # a list
    if program "$fits" $calls | builds; then echo found
    elif ! program 1 | builds; then echo missing
    elif ! program "$fits" | builds; then echo "unfit $(version_of "$1"): expected $wanted"
    else echo "unfit $(version_of "$1"): it lacks one of $calls"; fi
}

case ${1:-} in
flags)   describe "${2:-}"; echo "$flags" ;;
version) describe "${2:-}"; version_of "$2" ;;
*)       describe "${1:-}"; answer "$1" ;;
esac
