# The library as its users meet it: installed, found by pkg-config, linked both ways.
. "$(dirname "$0")/tap.sh"

BUILD=$(dirname "$PIPEBD_BIN")
if grep -q -e '-fsanitize=' "$BUILD/flags.txt" 2>/dev/null; then
    echo '1..0 # SKIP a build under sanitizers has no library to install'
    exit 0
fi
if ! command -v pkg-config > /dev/null; then
    echo '1..0 # SKIP pkg-config is not installed'
    exit 0
fi

CC=${CC:-cc}
trace=$PIPEBD_ROOT/traces/nas-cifar10-a6000.json
prefix=$WORK/prefix
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
export PKG_CONFIG_PATH

# With the flags that the build has, so that nothing is built again under other tests' feet.
make_in_root() {
    "${MAKE:-make}" --no-print-directory -C "$PIPEBD_ROOT" BUILD="$BUILD" PREFIX="$prefix" \
        WERROR="$(grep -q -e ' -Werror' "$BUILD/flags.txt" && echo 1)" "$@"
}

# ---- the page ----

same_as_page() {
    awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' \
        "$PIPEBD_ROOT/docs/library.md" > "$WORK/page.c"
    diff "$PIPEBD_ROOT/docs/example.c" "$WORK/page.c"
}
ok 'docs/library.md shows docs/example.c as it is' same_as_page

# ---- installed ----

ok 'make install' make_in_root install
ok 'pkg-config finds it' pkg-config --exists pipebd
ok 'an installed tool finds installed workloads and devices' "$prefix/bin/pipebd-trace" model \
    --workload digits \
    --device l40s --devices 2 -o "$WORK/installed.json"

same_version() {
    header=$(sed -n 's/^#define PIPEBD_VERSION "\(.*\)".*/\1/p' "$prefix/include/pipebd.h")
    [ -n "$header" ] && [ "$(pkg-config --modversion pipebd)" = "$header" ] &&
        [ -f "$prefix/lib/libpipebd.so.$header" ]
}
ok 'header, pkg-config and file name agree on the version' same_version

# only_pipebd NM-OPTION FILE: defines some global names, all of them pipebd_.
only_pipebd() {
    nm "$1" --defined-only "$2" | awk 'NF == 3 { names++; if ($3 !~ /^pipebd_/) { print; bad = 1 } }
                                       END { exit bad || names < 20 }'
}
ok 'the shared library defines pipebd_ names only' only_pipebd -D "$prefix/lib/libpipebd.so"
ok 'the archive defines pipebd_ names only' only_pipebd -g "$prefix/lib/libpipebd.a"

# ---- the header alone ----

echo '#include <pipebd.h>' > "$WORK/alone.c"
cp "$WORK/alone.c" "$WORK/alone.cc"
strict='-Wall -Wextra -Wpedantic -Werror -fsyntax-only'
for standard in c99 c11 c17; do
    # shellcheck disable=SC2086  # flags are words
    ok "the header alone is $standard" "$CC" -std=$standard $strict -I "$prefix/include" \
        "$WORK/alone.c"
done
if command -v "${CXX:-g++}" > /dev/null; then
    echo 'pipebd_options options = PIPEBD_OPTIONS_INIT; int main() { return !pipebd_version(); }' \
        >> "$WORK/alone.cc"
    # shellcheck disable=SC2086
    ok 'the header is C++11' "${CXX:-g++}" -std=c++11 $strict -I "$prefix/include" "$WORK/alone.cc"
    # shellcheck disable=SC2046
    ok 'C++ links it' "${CXX:-g++}" "$WORK/alone.cc" -o "$WORK/alone" \
        $(pkg-config --cflags --libs pipebd)
else
    skip 'the header is C++11' 'no C++ compiler'
    skip 'C++ links it' 'no C++ compiler'
fi

# ---- linked ----

mkdir "$WORK/static"
cp "$prefix/lib/libpipebd.a" "$WORK/static/"      # alone, or the linker takes the shared one

# shellcheck disable=SC2046
link_shared() { "$CC" -Wall -Wextra -Werror "$@" $(pkg-config --cflags --libs pipebd); }
# shellcheck disable=SC2046
link_static() {
    "$CC" -Wall -Wextra -Werror "$@" $(pkg-config --cflags pipebd) \
        -L"$WORK/static" $(pkg-config --static --libs pipebd)
}

ok 'the example links with the shared library' link_shared "$PIPEBD_ROOT/docs/example.c" \
    -o "$WORK/shared-example"
ok 'the example links with the archive' link_static "$PIPEBD_ROOT/docs/example.c" \
    -o "$WORK/static-example"

run_shared() { LD_LIBRARY_PATH=$prefix/lib "$WORK/shared-example" "$trace" > "$WORK/shared.out"; }
run_static() { "$WORK/static-example" "$trace" > "$WORK/static.out"; }
ok 'the example runs with the shared library' run_shared
ok 'the example runs with the archive' run_static
needs_no_shared() { ldd "$WORK/static-example" > "$WORK/ldd" && ! grep libpipebd "$WORK/ldd"; }
ok 'the archive is linked in' needs_no_shared
ok 'both say the same' cmp "$WORK/shared.out" "$WORK/static.out"

# schedule,epoch_s,speedup,...: the fastest row must be the example's first line.
same_as_tool() {
    pipebd-plan "$trace" --schedules dp,dpu,ahd --format csv |
        awk -F, 'NR > 1 && !/^#/ && (best == "" || $2 < best) { best = $2;
            line = $1 ": " $2 " s an epoch, " $3 " times dp" }
                 END { print line }' > "$WORK/tool.out"
    head -n 1 "$WORK/shared.out" | diff "$WORK/tool.out" -
}
ok 'the example says what pipebd-plan says' same_as_tool
said_on_page() {
    sed 's/^    //' "$PIPEBD_ROOT/docs/library.md" | grep -Fxf "$WORK/shared.out" \
        | diff "$WORK/shared.out" -
}
ok 'the page shows what the example prints' said_on_page

fails_well() {
    ! "$WORK/static-example" "$WORK/nothere.json" 2> "$WORK/err" \
        && grep -q 'nothere.json' "$WORK/err"
}
ok 'the example reports a missing file' fails_well

# Names of the inside in a user's program.
cat > "$WORK/collide.c" <<'END'
#include <pipebd.h>
int compare(int a) { return a + 1; }
int error_set(int a) { return a + 2; }
int plan_read = 3, json_count = 4, report;
int main(int argc, char **argv)
{
    pipebd_trace      *trace = 0;
    pipebd_comparison *comparison = 0;
    char              *text = 0;
    if (argc != 2 || pipebd_trace_read(&trace, argv[1], 0) != 0) return 1;
    if (pipebd_compare(&comparison, trace, 0, 0) != 0) return 2;
    if (pipebd_comparison_report(comparison, PIPEBD_JSON, &text, 0) != 0) return 3;
    return compare(1) + error_set(2) + plan_read + json_count + report == 13 ? 0 : 4;
}
END
ok 'a program with names of the inside links the archive' link_static "$WORK/collide.c" \
    -o "$WORK/collide"
ok 'and runs' "$WORK/collide" "$trace"
ok 'a program with names of the inside links the shared library' link_shared "$WORK/collide.c" \
    -o "$WORK/collide"
ok 'and runs too' env LD_LIBRARY_PATH="$prefix/lib" "$WORK/collide" "$trace"

# ---- gone ----

ok 'make uninstall' make_in_root uninstall
nothing_left() { find "$prefix" ! -type d > "$WORK/left"; cat "$WORK/left"; [ ! -s "$WORK/left" ]; }
ok 'uninstall leaves nothing' nothing_left

done_testing
