# Completes the command lines of Tandem's programs in bash, with what their help says.
# shellcheck shell=bash

# Verbs and options in the help on standard input, a line each.
_tandem_words() {
    awk '
        /^[^ ].*:$/ { section = $0 }
        section ~ /^(Example|Exit)/ { next }
        section == "Commands:" && /^  [a-z]/ { print $1 }
        section != "Commands:" && /^ +-/ {
            for (i = 1; i <= NF && $i ~ /^-/; i++) { sub(/,$/, "", $i); sub(/\.\.\.$/, "", $i); print $i }
        }'
}

# The values that help on standard input names for the option $1.
_tandem_values() {
    awk -v option="$1" '
        /^ +-/ { mine = 0; for (i = 1; i <= NF && $i ~ /^-/; i++) if ($i == option || $i == option ",") mine = 1 }
        mine && match($0, /\[possible values: [^]]*\]/) {
            values = substr($0, RSTART + 18, RLENGTH - 19); gsub(/, /, "\n", values); print values; exit
        }'
}

_tandem() {
    local program=$1 current=$2 previous=$3 verbs=() help word
    help=$("$program" -h 2> /dev/null) || return
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        if [[ $word != -* ]] && _tandem_words <<< "$help" | grep -qxF -e "$word"; then
            verbs+=("$word")
            help=$("$program" "${verbs[@]}" -h 2> /dev/null) || return
        fi
    done
    word=
    [[ $previous != -* ]] || word=$(_tandem_values "$previous" <<< "$help")
    [[ -n $word ]] || word=$(_tandem_words <<< "$help")
    # Where nothing of it fits, readline completes names of files.
    mapfile -t COMPREPLY < <(compgen -W "$word" -- "$current")
}

complete -o default -F _tandem tandem tandem-artifact tandem-image tandem-server
