#!/bin/sh
# compile_commands.sh: what make would run, on standard input, as a JSON compilation database: an
# entry for every command that compiles a file of ours ("... -c FILE -o OBJECT").
set -eu

awk -v folder="$(pwd)" '
    function quoted(text) {
        gsub(/\\/, "\\\\", text)
        gsub(/"/, "\\\"", text)
        return "\"" text "\""
    }
    match($0, / -c [^ ]+\.(c|cu) -o /) {
        file = substr($0, RSTART + 4)
        sub(/ .*/, "", file)
        printf "%s\n  {\"directory\": %s,\n   \"file\": %s,\n   \"command\": %s}",
               count++ ? "," : "[", quoted(folder), quoted(file), quoted($0)
    }
    END { if (!count) exit 1; print "\n]" }'
