# Which libraries a build takes (scripts/library.sh): none that is too old, too new, or not whole.
. "$(dirname "$0")/tap.sh"
cd "$PIPEBD_ROOT" || exit 1
fake=$WORK/include
mkdir -p "$fake/oneapi/dnnl"

# says TEXT COMMAND...: prints one line, this.
says() {
    local text=$1 line
    shift
    line=$("$@" 2>&1)
    echo "$line"
    [ "$line" = "$text" ]
}
with_fake() { CPPFLAGS=-I$fake scripts/library.sh "$@"; }
version_is() {
    printf '#define DNNL_VERSION_MAJOR %s\n#define DNNL_VERSION_MINOR %s\n#define DNNL_VERSION_PATCH 0\n' "$@" > "$fake/oneapi/dnnl/dnnl.h"
}
variable() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -pn "CPPFLAGS=-I$fake" all 2> /dev/null \
        | grep "^$1 "
}

version_is 2 5
if [ "$(scripts/library.sh dnnl)" = missing ]; then
    skip 'oneDNN of other versions' 'there is no oneDNN to link'
else
    ok 'oneDNN 2.5 is too old' says 'unfit 2.5.0: expected 3.x, or 2.6 and later' with_fake dnnl
    ok 'make says so' eval 'CPPFLAGS=-I$fake scripts/config.sh | tee "$WORK/.config" | grep -q "dnnl  *LEFT-OUT  *2.5.0: expected 3.x"'
    ok 'and leaves it out' says 'HAVE_DNNL := ' variable HAVE_DNNL
    version_is 4 0
    ok 'oneDNN 4 is too new' says 'unfit 4.0.0: expected 3.x, or 2.6 and later' with_fake dnnl
    version_is 3 99
    ok 'oneDNN 3 without its functions is left out' says \
        'unfit 3.99.0: it lacks one of dnnl_engine_create dnnl_primitive_execute dnnl_reorder_primitive_desc_create' with_fake dnnl
fi
echo '#error "not for this compiler"' > "$fake/glpk.h"
ok 'a header that does not compile is none' says missing with_fake glpk
ok 'a compiler that does not work finds nothing' says missing env CC=false scripts/library.sh dnnl
ok 'another name is refused' says \
    'usage: scripts/library.sh [flags|version] jansson|cmocka|glpk|dnnl|jpeg|zlib|sqlite|mpi' \
    scripts/library.sh lapack

done_testing
