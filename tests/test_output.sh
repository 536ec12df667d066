#!/bin/bash
# One rule for all that is written (docs/formats.md): of every tool, on a full disk, past a limit on
# sizes, through links, over a private file, and with gnuplots that fail.
. "$(dirname "$0")/mounts.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/training.sh"

T=$PIPEBD_ROOT/tests/fixtures/plots/small.json
cd "$WORK" || exit 1
mkdir dir full
pipebd-plan "$T" --format json > comparison.json
pipebd-sim "$T" --schedule dp,ahd --vary devices=1,2 --format csv > sweep.csv

# ---- the writers: each takes a file's name --------------------------------------------

w_plan()     { pipebd-plan "$T" -o "$1"; }
w_sim()      { pipebd-sim "$T" --schedule dp --format json -o "$1"; }
w_timeline() { pipebd-sim "$T" --schedule dp --timeline "$1"; }
w_model()    { pipebd-trace model --workload w.json --device rtx-a6000 --devices 2 -o "$1"; }
w_script()   { pipebd-plot speedup comparison.json --script "$1"; }
w_page()     { pipebd-plot report comparison.json -o "$1"; }
w_students() { run "$1" dpu; }
w_run()      { run students.st dpu --timeline "$1"; }
w_svg()      { pipebd-plot speedup comparison.json -o "$1"; }
w_png()      { pipebd-plot speedup comparison.json -o "$1"; }
w_pdf()      { pipebd-plot speedup comparison.json -o "$1"; }
epochs=1
writers="plan sim timeline model script page"
if cpu_devices; then writers="$writers students run"; fi
if command -v gnuplot > /dev/null; then writers="$writers svg png pdf"; fi

name_of() { case $1 in svg | png \
    | pdf) echo "out.$1" ;; page) echo out.html ;; *) echo out ;; esac; }

# refused WRITER FOLDER WHY: fails by an error that says why, not by a signal; the old file stays,
# and nothing beside it.
refused() {
    local file="$2/$(name_of "$1")"
    said=$(ulimit -f "${blocks:-unlimited}"; w_"$1" "$file" 2>&1 > /dev/null)
    local status=$?
    echo "status $status, $said, $(ls -A "$2")"
    [ $status -eq 1 ] && [[ $said == *"$3"* ]] && [ "$(cat "$file")" = old ] \
        && [ "$(ls -A "$2" | grep -v filler)" = "$(basename "$file")" ]
}

limited() { local blocks=0; refused "$1" dir "File too large"; }
for w in $writers; do
    rm -rf dir && mkdir dir && echo old > "dir/$(name_of $w)"
    ok "$w: past ulimit -f" limited $w
done

mounted() { [ -n "$PIPEBD_MOUNTS" ] && mount -t tmpfs -o size=256k pipebd "$WORK/full"; }
if mounted 2> /dev/null; then
    for w in $writers; do
        rm -rf full/* && echo old > "full/$(name_of $w)"
        cat /dev/zero > full/filler 2> /dev/null
        ok "$w: on a full disk" refused $w full "No space left"
    done
    umount full
else
    skip "on a full disk" "may not mount"
fi

# A private file behind two links, and then none there yet.
through_links() {
    local name=$(name_of "$1")
    rm -rf dir && mkdir -p dir/deep && ln -s "deep/$name" "dir/$name" \
        && ln -s ../target "dir/deep/$name"
    w_"$1" "dir/$name" > out.log 2>&1 && [ -s dir/target ] && [ -L "dir/$name" ] \
        && [ -L "dir/deep/$name" ] || return 1
    echo old > dir/target && chmod 600 dir/target
    w_"$1" "dir/$name" > out.log 2>&1 && [ "$(cat dir/target)" != old ] \
        && [ "$(stat -c %a dir/target)" = 600 ] && [ -L "dir/$name" ] || return 1
    [ "$(ls -A dir | wc -l)" -eq 3 ]
}
for w in $writers; do ok "$w: through links, over a private file" through_links $w; done

# A run that is refused for another reason leaves a link to nothing as it is.
ln -s nowhere dangling
ok "refused, and the link stays" \
    sh -c '! pipebd-plan nothere.json -o dangling && [ -L dangling ] && [ ! -e nowhere ]'
if command -v pipebd-run > /dev/null; then
    ok "of train too" sh -c '! pipebd-run train -w w.json --schedule dpu --devices cpu:1 \
        --teacher nothere -o dangling && [ -L dangling ] && [ ! -e nowhere ]'
fi
if [ -w /dev/full ]; then
    for tool in plan sim plot trace run; do
        command -v pipebd-$tool > /dev/null || continue
        expect_status 1 "pipebd-$tool --help to a full disk" sh -c "pipebd-$tool --help > /dev/full"
    done
fi

# ---- gnuplots that fail ---------------------------------------------------------------

mkdir fake
fake() { { echo '#!/bin/sh'; cat; } > fake/gnuplot; chmod +x fake/gnuplot; }
drawn() { PATH=$WORK/fake:$PATH pipebd-plot speedup comparison.json -o "$1" > out.log 2> err.log; }
keeps() {
    rm -rf dir && mkdir dir && echo old > dir/out.$1
    drawn dir/out.$1
    local status=$?
    cat err.log
    [ $status -eq 1 ] && [ "$(wc -l < err.log)" -eq 1 ] && grep -qF -- "$2" err.log \
        && [ "$(cat dir/out.$1)" = old ] && [ "$(ls -A dir)" = out.$1 ]
}
echo "printf '<svg>half'" | fake
ok "half a picture with exit status 0 is refused" keeps svg "gnuplot gave no whole picture, 9 bytes"
ok "in each form" keeps png "gnuplot gave no whole picture"
printf 'echo "\\"/dev/stdin\\" line 3: no such thing" >&2\nprintf "<svg></svg>\\n"\nexit 1\n' | fake
ok "a whole picture with another exit status is refused" keeps svg "gnuplot failed: no such thing"
echo 'kill -9 $$' | fake
ok "so is one of a gnuplot that was killed" keeps svg "gnuplot failed"
printf 'echo "         line 0: unknown or ambiguous terminal type; type just '\''set terminal'\'' for a list" >&2\nexit 1\n' | fake
ok "a gnuplot without cairo" keeps png "this gnuplot has no terminal pngcairo, since it was built without cairo: install one that has it"
ok "and a PDF" keeps pdf "no terminal pdfcairo"

# A signal while gnuplot draws: the old picture stays, alone, and the tool ends by the signal.
signalled() {
    rm -rf dir started && mkdir dir && echo old > dir/out.svg
    PATH=$WORK/fake:$PATH pipebd-plot speedup comparison.json -o dir/out.svg 2> err.log &
    local tool=$!
    wait_for test -s started || return 1
    kill -s "$1" $tool
    wait $tool
    local status=$?
    kill "$(cat started)" 2> /dev/null
    echo "status $status, $(ls -A dir)"
    [ $status -gt 128 ] && [ "$(cat dir/out.svg)" = old ] && [ "$(ls -A dir)" = out.svg ]
}
printf 'printf "<svg>half"\necho $$ > "%s/started"\nexec sleep 60\n' "$WORK" | fake
for s in TERM HUP KILL; do ok "SIG$s while gnuplot draws" signalled $s; done
done_testing
