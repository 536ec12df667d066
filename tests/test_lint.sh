#!/bin/bash
# The sources are free of what clang-tidy looks for here (.clang-tidy), and a fault put among them
# is found: about 12 s of a processor. cppcheck takes 16 s more and runs in CI only; elsewhere it is
# left to `make lint`, which `make check-all` runs.
. "$(dirname "$0")/tap.sh"

if ! command -v clang-tidy > /dev/null; then
    echo '1..0 # SKIP clang-tidy is not installed'
    exit 0
fi

flags=()
for each in jansson:JANSSON zlib:ZLIB sqlite:SQLITE jpeg:JPEG dnnl:DNNL; do
    [ "$("$PIPEBD_ROOT/scripts/library.sh" "${each%:*}" 2> /dev/null)" = found ] \
        && flags+=("-DHAVE_${each#*:}")
done

ok "clang-tidy finds nothing in the sources" "$PIPEBD_ROOT/scripts/lint.sh" tidy "${flags[@]}"

cat > "$WORK/fault.c" << 'C'
#include <string.h>
int same(const char *a, const char *b) { return strcmp(a, b) == 0 || strcmp(a, b) == 0; }
C
cp "$PIPEBD_ROOT/.clang-tidy" "$WORK"
fails "it finds the same on both sides of an or" clang-tidy --quiet "$WORK/fault.c" --

if [ -z "${CI:-}" ]; then skip "cppcheck finds nothing" "it runs where CI is set, and in make lint"
elif ! command -v cppcheck > /dev/null; then skip "cppcheck finds nothing" "it is not installed"
else ok "cppcheck finds nothing" "$PIPEBD_ROOT/scripts/lint.sh" cppcheck "${flags[@]}"
fi

done_testing
