#!/bin/bash
# What `make install` puts where, and that it works: staged under DESTDIR, moved to another folder,
# and run there with the source tree hidden (by an empty file system over it, in a namespace of its
# own, where that is allowed). Man pages and completion have every option of every tool.
. "$(dirname "$0")/tap.sh"

BUILD=$(dirname "$PIPEBD_BIN")
if grep -q -e '-fsanitize=' "$BUILD/flags.txt" 2>/dev/null; then
    echo '1..0 # SKIP a build under sanitizers has no library to install'
    exit 0
fi

# Flags as those of the build, so that nothing is built again.
make_in_root() {
    "${MAKE:-make}" --no-print-directory -C "$PIPEBD_ROOT" BUILD="$BUILD" \
        WERROR="$(grep -q -e ' -Werror' "$BUILD/flags.txt" && echo 1)" "$@"
}
version=$(sed -n 's/^#define PIPEBD_VERSION "\(.*\)".*/\1/p' "$PIPEBD_ROOT/include/pipebd.h")

# ---- where it goes
# ----------------------------------------------------------------------------------

stage=$WORK/stage
staged() { make_in_root install DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/some-arch; }
ok 'make install under DESTDIR' staged

has() {
    local file
    for file in "$@"; do [ -s "$stage/usr/$file" ] || { echo "no $file"; return 1; }; done
}
ok 'tools, and the library in LIBDIR' has bin/pipebd-plan bin/pipebd-sim bin/pipebd-trace \
    bin/pipebd-plot \
    include/pipebd.h lib/some-arch/libpipebd.a lib/some-arch/libpipebd.so \
    lib/some-arch/libpipebd.so.0 \
    "lib/some-arch/libpipebd.so.$version" lib/some-arch/pkgconfig/pipebd.pc
ok 'workloads, traces, devices, the capture of PyTorch models' has \
    share/pipebd/workloads/digits.json \
    share/pipebd/workloads/digits-teacher.safetensors share/pipebd/traces/nas-cifar10-a6000.json \
    share/pipebd/traces/devices/l40s.json share/pipebd/traces/capture_torch.py \
    share/pipebd/traces/torch_costs.py \
    share/pipebd/traces/trace_json.py share/pipebd/traces/models/vgg_like.py \
    share/pipebd/workloads/export_torch.py \
    share/pipebd/workloads/students_home.py share/pipebd/workloads/compare_outputs.py \
    share/pipebd/workloads/tensor_files.py \
    share/pipebd/workloads/pytorch/layers.py
ok 'man pages, completion, documents' has share/man/man1/pipebd-plan.1 \
    share/man/man1/pipebd-trace-import.1 \
    share/bash-completion/completions/pipebd-plan share/doc/pipebd/LICENSE share/doc/pipebd/NOTICE \
    share/doc/pipebd/CHANGELOG.md share/doc/pipebd/planning.md
nothing_of_stage() { ! grep -rIl "$WORK" "$stage"; }
ok 'no text says where it was staged' nothing_of_stage
pc_says() { grep -x "$1" "$stage/usr/lib/some-arch/pkgconfig/pipebd.pc"; }
# shellcheck disable=SC2016
ok 'pkg-config is told of LIBDIR' pc_says 'libdir=${prefix}/lib/some-arch'
readable() {
    [ -z "$(find "$stage" ! -type l ! -perm -a=r)" ] && [ -z "$(find "$stage" -type f -perm /022)" ]
}
umask 077
ok 'make install again, by somebody whose files nobody may read' staged
umask 022
ok 'everybody may read it, its owner write it' readable
fails 'a folder that is no path is refused' make_in_root install DESTDIR="$WORK/other" LIBDIR=lib
fails 'data where the tools do not look are refused' make_in_root install DESTDIR="$WORK/other" \
    DATADIR=/somewhere/share
nothing_there() { [ ! -e "$WORK/other" ]; }
ok 'and nothing is put anywhere' nothing_there

# ---- in another folder, the source tree gone
# ---------------------------------------------------------

home=$WORK/moved
mv "$stage/usr" "$home"
mkdir "$WORK/empty"

hide=(unshare --map-root-user --mount sh -c 'mount -t tmpfs tmpfs "$0" && exec "$@"' "$PIPEBD_ROOT")
if "${hide[@]}" sh -c "[ ! -e '$PIPEBD_ROOT/Makefile' ]" > /dev/null 2>&1; then
    echo '# the source tree is hidden'
else hide=(); echo '# the source tree cannot be hidden here'; fi

# moved COMMAND...: with what was installed, and nothing of this script's environment.
moved() {
    (cd "$WORK/empty" && "${hide[@]}" env -i PATH="$home/bin:/usr/local/bin:/usr/bin:/bin" \
        HOME="$WORK/empty" share="$home/share/pipebd" \
        OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$@")
}

for tool in "$home"/bin/pipebd-*; do
    name=$(basename "$tool")
    says_version() { [ "$(moved "$name" --version)" = "$name $version" ]; }
    ok "$name --version" says_version
done
ok 'every installed trace is one' moved sh -c 'pipebd-trace check "$share"/traces/*.json'
ok 'a plan from an installed trace' moved \
    sh -c 'pipebd-plan "$share/traces/nas-cifar10-a6000.json" -o plan.json'
ok 'which is simulated' moved \
    sh -c 'pipebd-sim "$share/traces/nas-cifar10-a6000.json" --plan plan.json'
every_workload() {
    moved sh -c 'for w in "$share"/workloads/*.json; do pipebd-trace model \
        --workload "$(basename "$w" .json)" --device h200 --devices 2 -o model.json || exit 1; done'
}
ok 'every installed workload is found by its name, and a device' every_workload
if command -v gnuplot > /dev/null; then
    ok 'a picture is drawn' moved sh -c 'pipebd-plan "$share/traces/vgg-cpu.json" \
        --format json > c.json && pipebd-plot speedup c.json -o c.svg && grep -q "<svg" c.svg'
else skip 'a picture is drawn' 'gnuplot is not installed'; fi
if cpu_devices; then
    ok 'students are trained' moved sh -c 'pipebd-run train --workload digits --schedule dpu \
        --devices cpu:2 --epochs 1 -o s.safetensors && [ -s s.safetensors ]'
else skip 'students are trained' 'no devices of the CPU'; fi
if command -v "${PYTHON:-python3}" > /dev/null; then
    says_script_version() {
        moved "$(command -v "${PYTHON:-python3}")" -B "$home/share/pipebd/traces/capture_torch.py" \
            --version | grep -x "capture_torch.py $version"
    }
    ok 'the capture script has the same version' says_script_version
    says_export_version() {
        moved "$(command -v "${PYTHON:-python3}")" -B \
            "$home/share/pipebd/workloads/export_torch.py" --version \
            | grep -x "export_torch.py $version"
    }
    ok 'and so has the export script' says_export_version
else
    skip 'the capture script has the same version' 'no python3'
    skip 'and so has the export script' 'no python3'
fi

# ---- man pages and completion
# ------------------------------------------------------------------------

# commands: tools, and subcommands with options of their own.
commands() {
    local tool
    for tool in "$home"/bin/pipebd-*; do basename "$tool"; done
    [ ! -x "$home/bin/pipebd-run" ] \
        || printf 'pipebd-run %s\n' profile train validate evaluate describe choose
}
# options COMMAND...: of its help.
options() {
    "$home/bin/$1" "${@:2}" --help | grep -oE '^  (-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'
}

pages_have_all() {
    local words page option
    commands | while read -ra words; do
        page=$home/share/man/man1/$(IFS=-; echo "${words[*]}").1
        options "${words[@]}" > "$WORK/options" || return 1
        [ -s "$WORK/options" ] || { echo "no options of ${words[*]}"; return 1; }
        while read -r option; do
            grep -qF -e "\\fB${option//-/\\-}\\fR" "$page" \
                || { echo "$page: no $option"; return 1; }
        done < "$WORK/options"
    done
}
ok 'a page of every command has all of its options' pages_have_all
subcommands_of_trace() {
    for s in check show import model; do
        grep -qx '.so man1/pipebd-trace.1' "$home/share/man/man1/pipebd-trace-$s.1" || return 1
    done
}
ok 'subcommands that share options share a page' subcommands_of_trace
if command -v groff > /dev/null; then
    # -ww: every warning; -z: print nothing else.
    well_formed() {
        (cd "$home/share/man" && groff -man -Tutf8 -ww -z man1/*.1) 2>&1 | tee "$WORK/groff" \
            | head -n 20
        [ ! -s "$WORK/groff" ]
    }
    ok 'the pages are well formed' well_formed
else skip 'the pages are well formed' 'groff is not installed'; fi

# completes "LINE" WORD...: what bash offers at the line's end is these words.
completes() {
    local line=$1
    shift
    diff <(printf '%s\n' "$@") <(env -i bash --norc -c '
        . "$1"
        read -ra COMP_WORDS <<< "$2"
        [ "${2%" "}" = "$2" ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _pipebd
        printf "%s\n" "${COMPREPLY[@]}"' bash "$home/share/bash-completion/completions/${line%% *}" "$line")
}
ok 'an option is completed' completes 'pipebd-plan t.json --sens' --sensitivity
ok 'its choices are offered' completes 'pipebd-plan t.json --format ' table csv json
ok 'subcommands are offered' completes 'pipebd-trace s' show
if [ -x "$home/bin/pipebd-run" ]; then
    ok "a subcommand's options are its own" completes 'pipebd-run describe --w' --workload
else skip "a subcommand's options are its own" 'pipebd-run is not built'; fi
has_every_word() {
    local words
    commands | while read -ra words; do
        sed -n "/^    '${words[*]}') /,/^WORDS/p" \
            "$home/share/bash-completion/completions/pipebd-plan" | grep -oE '^--[a-z-]+' \
            | sort > "$WORK/words"
        options "${words[@]}" | sort | diff - "$WORK/words" || return 1
    done
}
ok 'all options of all commands are' has_every_word

done_testing
