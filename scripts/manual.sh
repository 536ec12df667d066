#!/bin/sh
# manual.sh BIN FOLDER: a man page of every tool and subcommand, as the tool itself writes it from
# its options (--help=man), and for bash a completion of them all (--help=words):
#
#     FOLDER/man/pipebd-plan.1, pipebd-run.1, pipebd-run-train.1, ...
#     FOLDER/completion/pipebd
set -eu

bin=$1 folder=$2
mkdir -p "$folder/man" "$folder/completion"

# subcommands TOOL: which its help lists as "  NAME  what it does", or its usage as "NAME FILE |
#                                              ...".
subcommands() {
    case $1 in
    pipebd-run | pipebd-workload) "$bin/$1" --help | sed -n 's/^  \([a-z-]*\)  *[a-z].*/\1/p' ;;
    pipebd-trace) "$bin/$1" --help | sed -n '/^usage:/,/^$/p' | tr '\n' ' ' \
        | sed 's/^usage: pipebd-trace //' | tr '|' '\n' |
        sed 's/^ *\([a-z]*\) .*/\1/'; echo ;;
    esac
}

# commands: every tool, then each of its subcommands.
commands() {
    for tool in "$bin"/pipebd-*; do
        name=$(basename "$tool")
        echo "$name"
        subcommands "$name" | sed "/./!d; s/^/$name /"
    done
}

# see_also PAGE: all others.
see_also() {
    printf '.SH SEE ALSO\n'
    commands | sed 's/ /-/' | grep -vx "$1" | sed 's/-/\\-/g; s/.*/.BR & (1),/; $ s/,$//'
}

# pages: of the commands on standard input. A subcommand without options of its own is told on its
# tool's page.
pages() {
    while read -r tool subcommand; do
        page=$tool${subcommand:+-$subcommand} file=$folder/man/$tool${subcommand:+-$subcommand}.1
        # shellcheck disable=SC2086  # none is no argument
        { "$bin/$tool" $subcommand --help=man; see_also "$page"; } > "$file"
        if ! head -n 1 "$file" | grep -qi "^\.TH $page "; then echo ".so man1/$tool.1" > "$file"; fi
    done
}

# One function that knows the words of every command.
completion() {
    cat << 'END'
# Completion of the pipebd tools for bash. Made from their option tables: scripts/manual.sh.

# Words of a command: "--option -o value" lines; the last word is what follows the option,
# none, value (a file, maybe), or choices "a|b".
_pipebd_words() {
    case $1 in
END
    commands | while read -r tool subcommand; do
        printf "    '%s') cat << 'WORDS'\n" "$tool${subcommand:+ $subcommand}"
        # shellcheck disable=SC2086
        "$bin/$tool" $subcommand --help=words
        printf 'WORDS\n        ;;\n'
    done
    cat << 'END'
    esac
}

_pipebd() {
    local tool=${COMP_WORDS[0]##*/} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=$tool option letter follows

    COMPREPLY=()
    if [ "$before" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi
    if [ "$current" = = ]; then before=${COMP_WORDS[COMP_CWORD - 1]} current=; fi
END
    commands | awk '
        NF == 2 { subcommands[$1] = subcommands[$1] " " $2 }
        END { for (tool in subcommands) {
            printf "    if [ \"$tool\" = %s ]; then\n", tool
            printf "        if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
            printf "            COMPREPLY=($(compgen -W '"'"'%s --help --version'"'"' ",
                   substr(subcommands[tool], 2)
            printf "-- \"$current\"))\n"
            printf "            return\n        fi\n        command=\"$tool ${COMP_WORDS[1]}\"\n    fi\n" } }'
    cat << 'END'
    while read -r option letter follows; do
        if [ "$before" != "$option" ] && [ "$before" != "$letter" ]; then continue; fi
        case $follows in
        none)  ;;
        value) return ;;                     # -o default: names of files
        *)     COMPREPLY=($(compgen -W "${follows//|/ }" -- "$current")); return ;;
        esac
    done < <(_pipebd_words "$command")
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(_pipebd_words "$command" | cut -d ' ' -f 1)" -- "$current"))
    fi
}

END
    commands | awk 'NF == 1 { tools = tools " " $1 } END {
        print "complete -o default -F _pipebd" tools }'
}

commands | pages
completion > "$folder/completion/pipebd"
