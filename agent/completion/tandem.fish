# Completes the command lines of Tandem's programs in fish, with what their help says.

function __tandem_words
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l help ($words[1] -h 2> /dev/null)
    or return
    set -l called
    for word in $words[2..-1]
        if string match --quiet --regex -- "^  $(string escape --style=regex -- $word)( |\$)" $help
            set --append called $word
            set help ($words[1] $called -h 2> /dev/null)
            or return
        end
    end
    set -l section
    for line in $help
        if string match --quiet --regex '^[^ ].*:$' -- $line
            set section $line
        else if test "$section" = Commands:
            string replace --filter --regex '^  ([a-z][^ ]*) +(.*)$' '$1\t$2' -- $line
        else if not string match --quiet --regex '^(Example|Exit)' -- $section
            string replace --filter --regex '^ .*(--[a-z-]+)[^ ]*(?: <[^>]*>)?(?:  +(.*))?$' '$1\t$2' -- $line
        end
    end
end

for program in tandem tandem-artifact tandem-image tandem-server
    complete --command $program --arguments '(__tandem_words)'
end
